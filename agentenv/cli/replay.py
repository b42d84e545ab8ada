"""`agentenv replay`."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import out, print_json, show_warnings

if TYPE_CHECKING:
    from agentenv.rollout import ReplayReport

SHOWN = 20


def add_to(app: typer.Typer) -> None:
    app.command("replay")(replay)


def replay(
    run: Path = typer.Argument(help="A run folder, or a journal."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """Run the environments of a journal again on the recorded actions and report every reward or answer that differs.

    No model is asked. Ends with 1 when something differs, otherwise with 0.

    Example: agentenv replay runs/eval-calculator-v0-oracle-1a2b3c4d
    """
    from agentenv.cli.journals import bar, journal_of
    from agentenv.rollout import replay as run_again
    from agentenv.rollout.replaying import SCORED

    show_warnings()
    with journal_of(run) as journal, bar(journal, SCORED, "replaying") as advance:
        report = asyncio.run(run_again(journal, on_episode=lambda episode, differences: advance()))
    if json:
        print_json(dataclasses.asdict(report))
    else:
        _show(report)
    raise typer.Exit(1 if report.differences else 0)


def _show(report: ReplayReport) -> None:
    from rich.text import Text

    from agentenv.cli.journals import shorten

    played = f"{report.episodes} episodes, {report.turns} turns"
    if not report.differences:
        out().print(Text(f"{played}: nothing differs", style="green"))
        return
    out().print(Text(f"{played}: {len(report.differences)} differences", style="bold red"))
    for found in report.differences[:SHOWN]:
        where = "reset" if found.turn < 0 else f"turn {found.turn + 1}"
        out().print(Text(f"{found.key.task_id} · {where} · {found.aspect.value}"))
        out().print(Text(f"  recorded: {shorten(found.recorded)}\n  replayed: {shorten(found.replayed)}", style="dim"))
    if len(report.differences) > SHOWN:
        out().print(Text(f"… and {len(report.differences) - SHOWN} more; --json has them all", style="dim"))
