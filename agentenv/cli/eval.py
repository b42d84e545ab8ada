"""`agentenv eval`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import (
    Interrupted,
    err,
    find_environment,
    find_policy,
    out,
    print_json,
    settings_of,
    show_warnings,
    slug,
)

if TYPE_CHECKING:
    from agentenv.evaluate import Evaluation, Protocol
    from agentenv.evaluate import Progress as Progress_
    from agentenv.policy.contract import Policy, Sampling
    from agentenv.registry import EnvSpec
    from agentenv.rollout import RolloutConfig


class Retry(StrEnum):
    """Which episodes of an earlier run are played again."""

    ERRORED = "errored"


def add_to(app: typer.Typer) -> None:
    app.command("eval")(eval_)


def eval_(
    context: typer.Context,
    id: str = typer.Argument(help="An environment's id, or path/to/file.py[:Class]."),
    policy: str = typer.Option(..., "--policy", "-p", help="Who plays, such as openai:http://127.0.0.1:8000/v1."),
    model: str | None = typer.Option(None, help="The model; by default the only one the endpoint serves."),
    tasks: int = typer.Option(50, "--tasks", "-n", min=1, help="How many tasks."),
    samples: int = typer.Option(1, "--samples", "-k", min=1, help="Episodes per task."),
    split: str = typer.Option("test", help="Which tasks."),
    seed: int = typer.Option(0, help="Which tasks of the split, and the environment's dice."),
    temperature: float | None = typer.Option(None, min=0, help="By default the endpoint's own."),
    top_p: float | None = typer.Option(None, min=0, max=1, help="By default the endpoint's own."),
    max_tokens: int | None = typer.Option(None, min=1, help="Of one answer; by default the endpoint's own."),
    max_concurrent: int = typer.Option(64, min=1, help="Episodes at a time."),
    out_folder: Path | None = typer.Option(None, "--out", help="The run folder; by default one in runs/."),
    retry: Retry | None = typer.Option(None, help="Play again what failed in an earlier run of this command."),
    json: bool = typer.Option(False, "--json", help="JSON on standard output."),
) -> None:
    """Evaluate a policy on an environment. The same command again resumes where the last one stopped.

    Ends with 0 when every episode was scored, otherwise with 1.

    Example: agentenv eval calculator-v0 --policy openai:http://127.0.0.1:8000/v1 -n 100 --temperature 0
    """
    groups = settings_of(
        context, env="arguments of the environment", policy="options of the policy", rollout="limits of the rollouts"
    )
    spec = find_environment(id, groups["env"])
    player = find_policy(policy, model, groups["policy"])
    from agentenv.config import load_config
    from agentenv.policy.contract import Sampling
    from agentenv.rollout import RolloutConfig

    limits = [f"max_concurrent={max_concurrent}", *(f"{key}={text}" for key, text in groups["rollout"])]
    plan = _Plan(
        spec,
        tasks,
        samples,
        split,
        seed,
        Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens),
        load_config(RolloutConfig, None, limits),
        out_folder,
        retry is Retry.ERRORED,
    )
    show_warnings()
    evaluation = plan.run(player)
    if json:
        print_json({"run": str(plan.folder), **evaluation.to_json()})
    else:
        from agentenv.evaluate import render

        render(evaluation, out())
        out().print(f"run folder: {plan.folder}", style="dim", markup=False, highlight=False, soft_wrap=True)
    if not evaluation.complete:
        err().print("[dim]the same command with --retry errored plays the failed episodes again[/dim]")
        raise typer.Exit(1)


@dataclass(slots=True)
class _Plan:
    """One evaluation to run, with its progress bar and what to say when it is interrupted."""

    spec: EnvSpec
    tasks: int
    samples: int
    split: str
    seed: int
    sampling: Sampling
    config: RolloutConfig
    folder: Path | None
    retry_errored: bool
    last: Progress_ | None = None

    def run(self, policy: Policy) -> Evaluation:
        try:
            return asyncio.run(self._evaluate(policy))
        except KeyboardInterrupt:
            if self.folder is None:  # the policy was still being opened
                raise Interrupted("no episode had begun.") from None
            planned = f" of {self.last.planned}" if self.last is not None else ""
            raise Interrupted(
                f"{self._kept()}{planned} episodes are kept in {self.folder}. The same command again resumes."
            ) from None

    def _kept(self) -> int:
        """Scored episodes in the journal; there may be more of them than the progress had counted."""
        from agentenv.evaluate.protocol import JOURNAL
        from agentenv.rollout import Journal

        if self.folder is None or not (self.folder / JOURNAL).exists():
            return 0
        with Journal.open(self.folder / JOURNAL, create=False) as journal:
            return sum(count for status, count in journal.counts().items() if status.scored)

    async def _evaluate(self, policy: Policy) -> Evaluation:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from agentenv.evaluate import evaluate

        async with policy:
            self.folder = self.folder or _default_folder(self._protocol(policy))
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            with Progress(*columns, console=err(), transient=True) as bar:
                line = bar.add_task("", total=None)

                def show(progress: Progress_) -> None:
                    self.last = progress
                    mean = "–" if progress.mean is None else f"{progress.mean:.3f}"
                    failed = f"  [red]{progress.unscored} not scored[/red]" if progress.unscored else ""
                    bar.update(
                        line, completed=progress.done, total=progress.planned, description=f"reward {mean}{failed}"
                    )

                return await evaluate(
                    self.spec,
                    policy,
                    tasks=self.tasks,
                    samples=self.samples,
                    split=self.split,
                    seed=self.seed,
                    sampling=self.sampling,
                    run_folder=self.folder,
                    config=self.config,
                    retry_errored=self.retry_errored,
                    on_progress=show,
                )

    def _protocol(self, policy: Policy) -> Protocol:
        from agentenv.evaluate import Protocol

        return Protocol.of(
            self.spec,
            policy.name,
            tasks=self.tasks,
            samples=self.samples,
            split=self.split,
            seed=self.seed,
            sampling=self.sampling,
        )


def _default_folder(protocol: Protocol) -> Path:
    """The folder of a protocol: always the same one, so that the same command resumes."""
    return Path("runs") / f"eval-{slug(protocol.environment)}-{slug(protocol.policy)}-{protocol.hash[:8]}"
