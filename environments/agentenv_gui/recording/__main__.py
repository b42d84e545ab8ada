"""`python -m agentenv_gui.recording FOLDER`: makes a film of a recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentenv.errors import AgentenvError
from agentenv_gui.recording.film import film
from agentenv_gui.recording.log import Recording

app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="A recording, as an environment with record= leaves it.")],
    out: Annotated[Path | None, typer.Option(help="Where the film goes; by default film.html in it.")] = None,
) -> None:
    """Make one HTML file of a recording, with every screen and what was done on it.

    Example: python -m agentenv_gui.recording runs/recordings/click-button-7
    """
    target = folder / "film.html" if out is None else out
    try:
        target.write_text(film(Recording.read(folder), folder.name), encoding="utf-8")
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    except OSError as error:
        sys.stderr.write(f"{target} cannot be written: {error.strerror}\n")
        raise typer.Exit(1) from error
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    app()
