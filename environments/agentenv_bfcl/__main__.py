"""`python -m agentenv_bfcl`: what the multi-turn environment pays ground truths, no-ops and shuffled ground truths."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentenv.errors import AgentenvError
from agentenv_bfcl.replay import SPLIT, Script, replay, replay_rate
from agentenv_bfcl.report import Line, markdown, remarks, rich_table, write_between_markers
from agentenv_bfcl.scenarios import Category, read_tasks

app = typer.Typer(add_completion=False, no_args_is_help=True)

_SHUFFLED = (Script.OTHER_TURNS, Script.OTHER_TASK)


@app.callback()
def main() -> None:
    """The Berkeley Function Calling Leaderboard, version 4."""


@app.command("replay")
def replay_command(
    category: str | None = typer.Option(None, help="base, miss_func, miss_param or long_context; by default all."),
    no_op: bool = typer.Option(False, "--no-op", help="Play no call at all instead of the ground truth."),
    shuffled: bool = typer.Option(
        False,
        "--shuffled",
        help="Play the ground truth's turns moved by one, and the calls of the category's next task, instead of it.",
    ),
    everything: bool = typer.Option(False, "--all", help="Play the ground truth, no-ops and shuffled ones."),
    write: Annotated[
        Path | None, typer.Option(help="A page whose lines between the replay markers become the table.")
    ] = None,
) -> None:
    """Play every multi-turn task through the environment.

    Ends with 0 where all ground truths get full marks, and nothing else does but what cannot be told from them.

    Example: python -m agentenv_bfcl replay --all --write docs/bfcl.md
    """
    chosen = [Script.NO_OP] * no_op + list(_SHUFFLED) * shuffled
    scripts = list(Script) if everything else chosen or [Script.TRUTH]
    try:
        lines = asyncio.run(_replay(Category.chosen(category), scripts))
        if write is not None:
            write_between_markers(write, markdown(lines))
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    Console().print(rich_table(lines))
    for remark in remarks(lines):
        sys.stdout.write(f"{remark}\n")
    raise typer.Exit(int(any(one.surprising for line in lines for one in line.played)))


@app.command("rate")
def rate_command(repeats: int = typer.Option(3, min=1, help="Replays that the second figure is taken of.")) -> None:
    """Measure how many tool calls a second the ground truths are replayed with, on one core.

    Example: python -m agentenv_bfcl rate
    """
    try:
        first, later = asyncio.run(replay_rate(repeats=repeats))
    except AgentenvError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    for when, rate in (("the first time, with the ground truths worked out", first), ("afterwards", later)):
        sys.stdout.write(
            f"{when}: {rate.per_second:,.0f} tool calls a second ({rate.calls:,} in {rate.seconds:.2f} s); "
            f"{rate.per_processor_second:,.0f} a second of processor time\n"
        )


async def _replay(categories: Sequence[Category], scripts: Sequence[Script]) -> list[Line]:
    lines = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)
        for script in scripts:
            for category in categories:
                progress.reset(bar, description=f"{script}, {category}", total=len(read_tasks(category, SPLIT)))
                played = []
                async for one in replay(category, script):
                    played.append(one)
                    progress.advance(bar)
                lines.append(Line(tuple(played)))
    return lines


if __name__ == "__main__":
    app()
