"""`agentenv train`."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import Interrupted, all_settings, err, out, print_json, program, show_warnings

if TYPE_CHECKING:
    from agentenv.cli.train_config import TrainRun
    from agentenv.learn.events import TrainEvent, TrainResult


RUN = "{run}"
"""In a policy's argument: the run folder."""


def add_to(app: typer.Typer) -> None:
    app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)


def train(
    context: typer.Context,
    config: Path = typer.Argument(help="A TOML file; base = 'other.toml' in it takes the rest from there."),
    policy: str | None = typer.Option(
        None, "--policy", "-p", help="Whom to train, such as tiny:FOLDER; vllm alone serves the file's model by vLLM."
    ),
    out_folder: Path | None = typer.Option(None, "--out", help="The run folder; by default runs/train-CONFIG."),
    json: bool = typer.Option(False, "--json", help="The result as JSON on standard output."),
) -> None:
    """Train a policy on an environment. The same command again goes on where the last one stopped.

    Every setting of the file can be given as --KEY VALUE.

    Example: agentenv train calculator.toml --policy tiny:runs/start --learner.lr 3e-5 --iterations 50
    """
    from agentenv.errors import ConfigError, MissingExtraError

    if str(config).startswith("-"):
        raise ConfigError(f"name the TOML file before {config}")
    try:
        from agentenv.cli.train_config import TrainRun

        wanted = TrainRun.load(config, [*all_settings(context), *context.args], policy)
        folder = out_folder or Path("runs") / f"train-{config.stem}"
        result = _run(wanted, folder)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers"):
            raise
        raise MissingExtraError("training", "train") from error
    _show(result, wanted, json=json)
    if result.stopped is not None:
        from agentenv.learn.errors import StoppedByAlarmError

        raise StoppedByAlarmError(f"the run was stopped by its alarm {result.stopped}")


def _run(wanted: TrainRun, folder: Path) -> TrainResult:
    from agentenv.cli.training_report import draw_curve
    from agentenv.cli.training_view import TrainingView
    from agentenv.errors import ConfigError
    from agentenv.learn.loop import train as run_training
    from agentenv.learn.model import silence_transformers
    from agentenv.learn.tracking import open_trackers
    from agentenv.policy.contract import TrainablePolicy
    from agentenv.policy.registry import make_policy

    policy = make_policy(_in_folder(wanted.policy, folder), **wanted.policy_options)
    if not isinstance(policy, TrainablePolicy):
        raise ConfigError(f"the policy {wanted.policy!r} cannot be trained: its weights cannot be replaced")
    show_warnings()
    silence_transformers()
    view = TrainingView(err())

    async def run() -> TrainResult:
        with ExitStack() as open_ones:
            watchers: list[Callable[[TrainEvent], None]] = [open_ones.enter_context(view).on_event]
            for tracker in open_trackers(wanted.tracking, folder, wanted.model_dump(mode="json")):
                open_ones.callback(tracker.close)
                watchers.append(tracker.on_event)

            def tell(event: TrainEvent) -> None:
                for watcher in watchers:
                    watcher(event)

            async with policy:
                return await run_training(wanted.training, policy, folder, tell)

    try:
        result = asyncio.run(run())
    except KeyboardInterrupt:
        kept = f"{view.last_iteration} iterations and every finished episode are kept in {folder}"
        raise Interrupted(f"{kept}. The same command again goes on.") from None
    draw_curve(folder)
    return result


def _in_folder(policy: str, folder: Path) -> str:
    """The policy with the run folder in it. `..` is resolved here: the system would want the folder to be there.

    >>> _in_folder("tiny:{run}/../start", Path("runs/mine"))
    'tiny:runs/start'
    """
    if RUN not in policy:
        return policy
    name, colon, argument = policy.partition(":")
    return f"{name}{colon}{os.path.normpath(argument.replace(RUN, str(folder)))}"


def environment_arguments(wanted: TrainRun) -> str:
    """The environment as the other commands take it, keyword arguments included."""
    arguments = [f"--env.{key} {shlex.quote(json_text(value))}" for key, value in wanted.environment_kwargs.items()]
    return " ".join([wanted.environment, *arguments])


def _show(result: TrainResult, wanted: TrainRun, *, json: bool) -> None:
    curve = result.run_folder / "learning_curve.png"
    if json:
        print_json(
            {
                "run": str(result.run_folder),
                "iterations": result.iterations,
                "best_model": str(result.best_folder),
                "best_iteration": result.best_iteration,
                "best_reward": result.best_reward,
                "stopped": result.stopped,
                "last_checkpoint": str(result.last_folder),
                "learning_curve": str(curve) if curve.exists() else None,
                "test_before": result.before.evaluation.to_json() if result.before else None,
                "test_after": result.after.evaluation.to_json() if result.after else None,
            }
        )
        return
    from agentenv.cli.training_report import show_test, show_transcripts

    if result.before is not None and result.after is not None:
        show_transcripts(result.before, result.after, out())
        show_test(result.before, result.after, out())
    best = "not scored" if result.best_reward is None else f"{result.best_reward:.3f}"
    tail = f"{environment_arguments(wanted)} --policy {wanted.policy.partition(':')[0]}:{result.best_folder}"
    lines = [
        f"{result.iterations} iterations; best evaluation {best}, after iteration {result.best_iteration}",
        f"best model: {result.best_folder}",
        f"run folder: {result.run_folder}",
        *([f"learning curve: {curve}"] if curve.exists() else []),
        f"next: {program()} play {tail}",
        f"      {program()} eval {tail} --temperature 0",
    ]
    for line in lines:
        out().print(line, markup=False, highlight=False, soft_wrap=True)
