"""`agentenv rescore`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import find_environment, out, print_json, settings_of, show_warnings

if TYPE_CHECKING:
    from agentenv.rollout import RescoreReport

SHOWN = 20


def add_to(app: typer.Typer) -> None:
    app.command("rescore")(rescore)


def rescore(
    context: typer.Context,
    run: Path = typer.Argument(help="A run folder, or a journal; it is not changed."),
    environment: str | None = typer.Option(
        None, "--with", help="The environment to score with, such as a new version; by default the recorded one."
    ),
    into: Path | None = typer.Option(None, "--out", help="A folder for a journal of the rescored episodes."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """Grade the recorded answers of a run again, without a model: after a verifier was corrected, say.

    Ends with 1 when an episode could not be scored, otherwise with 0.

    Example: agentenv rescore runs/eval-my_env --with my_env.py
    """
    from agentenv.cli.journals import bar, journal_of
    from agentenv.errors import ConfigError
    from agentenv.evaluate.protocol import JOURNAL
    from agentenv.rollout import Journal
    from agentenv.rollout import rescore as run_again
    from agentenv.rollout.rescoring import RESCORABLE

    settings = settings_of(context, env="arguments of the environment given by --with")["env"]
    if settings and environment is None:
        raise ConfigError("--env.KEY needs --with ID: which environment is it for?")
    spec = find_environment(environment, settings) if environment is not None else None
    show_warnings()
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(journal_of(run))
        if into is not None and into.resolve() == journal.path.parent.resolve():
            raise ConfigError(f"{into} is the run itself; give another --out")
        kept = stack.enter_context(Journal.open(into / JOURNAL)) if into is not None else None
        advance = stack.enter_context(bar(journal, RESCORABLE, "rescoring"))
        report = asyncio.run(run_again(journal, kept, spec=spec, on_episode=lambda rescored: advance()))
    if json:
        means = report.means
        print_json(
            {
                "episodes": [dataclasses.asdict(episode) for episode in report.episodes],
                "changed": len(report.changed),
                "diverged": len(report.diverged),
                "recorded_mean": means[0] if means else None,
                "rescored_mean": means[1] if means else None,
            }
        )
    else:
        _show(report)
    raise typer.Exit(1 if any(episode.rescored is None for episode in report.episodes) else 0)


def _show(report: RescoreReport) -> None:
    from rich.text import Text

    from agentenv.cli.journals import shorten

    means = report.means
    if means is not None:
        out().print(Text(f"mean return {means[0]:.4f} → {means[1]:.4f}", style="bold"))
    changed, unscored = report.changed, [episode for episode in report.episodes if episode.rescored is None]
    out().print(Text(f"{len(report.episodes)} episodes, {len(changed)} with another return"))
    if unscored:
        out().print(Text(f"! {len(unscored)} are NOT scored and not in the means", style="bold red"))
    if report.diverged:
        said = f"! in {len(report.diverged)} the environment answered otherwise: their new return means little"
        out().print(Text(said, style="yellow"))
    for episode in changed[:SHOWN]:
        line = f"  {episode.key.task_id}: {_number(episode.recorded)} → {_number(episode.rescored)}"
        out().print(Text(line + (f"  {shorten(episode.problem)}" if episode.problem else "")))
    if len(changed) > SHOWN:
        out().print(Text(f"  … and {len(changed) - SHOWN} more; --json has them all", style="dim"))


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:g}"
