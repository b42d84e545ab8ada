"""`python -m agentenv_tau2 replay`: what every task pays its own ground truth, and an agent that only talks."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from agentenv.errors import AgentenvError
from agentenv_tau2.data import Domain, load_domain
from agentenv_tau2.replay import Replayed, replay
from agentenv_tau2.report import insert, markdown, notes, table

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """tau2-bench: customer service on a database, judged by what the database holds."""


@app.command("replay")
def command(
    domain: Annotated[Domain, typer.Option(help="Which tasks.")] = Domain.RETAIL,
    data: Annotated[
        str | None, typer.Option(help="The folder with the domains' folders; by default $AGENTENV_TAU2.")
    ] = None,
    silent: Annotated[bool, typer.Option("--no-op", help="Also play an agent that only talks.")] = False,
    write: Annotated[
        Path | None, typer.Option(help="A page with the markers of this domain, which gets the table.")
    ] = None,
) -> None:
    """Play each task's ground truth. Ends with 1 unless each is paid in full, and mere talk only where it may be.

    Example: python -m agentenv_tau2 replay --domain mock --no-op
    """
    try:
        played, seconds = _play(domain, data, silent=silent)
        console = Console()
        console.print(table(domain, played))
        for note in notes(played, seconds):
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if write is not None:
            write.write_text(insert(write.read_text(encoding="utf-8"), domain, markdown(played)), encoding="utf-8")
    except (AgentenvError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    raise typer.Exit(0 if all(one.well for one in played) else 1)


def _play(domain: Domain, data: str | None, *, silent: bool) -> tuple[list[Replayed], float]:
    total = len(load_domain(domain, data).rows)
    began = time.perf_counter()
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"tau2 {domain}", total=total)
        played = asyncio.run(replay(domain, data, silent=silent, on_played=lambda _: progress.advance(bar)))
    return played, time.perf_counter() - began


if __name__ == "__main__":
    app()
