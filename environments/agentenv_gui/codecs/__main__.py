"""`python -m agentenv_gui.codecs`: which dialect can say which actions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentenv_gui.codecs.table import between_markers, markdown


def main(
    write: Annotated[Path | None, typer.Option(help="A page whose lines between the markers become the table.")] = None,
) -> None:
    """Print the table of what each dialect can say, or write it into a page.

    Example: python -m agentenv_gui.codecs --write docs/gui-actions.md
    """
    if write is None:
        sys.stdout.write(f"{markdown()}\n")
        return
    try:
        page = between_markers(write.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{write}: {problem}\n")
        raise typer.Exit(1) from None
    write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
