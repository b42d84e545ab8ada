"""`python -m agentenv_gui.miniwob`: what oracles and doing nothing earn on each task, and whether resets are resets."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentenv.errors import AgentenvError
from agentenv_gui.miniwob import source
from agentenv_gui.miniwob.report import markdown, rich_table, summary, write_between_markers
from agentenv_gui.miniwob.survey import Finding, Survey


def main(
    tasks: Annotated[str | None, typer.Option(help="Names, with commas between them; by default all.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each oracle.")] = 10,
    rounds: Annotated[int, typer.Option(min=0, help="Comparisons of each used page with a new one.")] = 6,
    write: Annotated[
        Path | None, typer.Option(help="A page whose lines between the miniwob markers become the table.")
    ] = None,
) -> None:
    """Play every task of MiniWoB++ with its oracle and without one, and compare used pages with new ones.

    Ends with 0 where each oracle earns what can be earned, waiting earns nothing, and used pages are as good as new.

    Example: python -m agentenv_gui.miniwob --write docs/miniwob.md
    """
    try:
        found = asyncio.run(_surveyed(Survey(source.chosen(tasks), episodes, rounds)))
        if write is not None:
            write_between_markers(write, markdown(found))
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    Console().print(rich_table(found))
    sys.stdout.write(f"{summary(found)}\n")
    surprises = [surprise for finding in found for surprise in finding.surprises]
    for surprise in surprises:
        sys.stdout.write(f"{surprise}\n")
    raise typer.Exit(int(bool(surprises)))


async def _surveyed(survey: Survey) -> list[Finding]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("MiniWoB++", total=len(survey.names))
        async for finding in survey.findings():
            found.append(finding)
            progress.advance(bar)
    return sorted(found, key=lambda finding: finding.name)


if __name__ == "__main__":
    typer.run(main)
