"""A training run at the terminal: progress bars, and one line per iteration, evaluation and test."""

from __future__ import annotations

import math
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentenv.evaluate import Evaluation
from agentenv.learn.events import (
    AlarmRaised,
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    Imitated,
    IterationFinished,
    RunStarted,
    Tested,
    TrainEvent,
    WarmupStep,
)


class TrainingView:
    """Shows what a training run tells. Use it as a context manager and pass `on_event` to `train`.

    Example:
        with TrainingView(Console(stderr=True)) as view:
            result = await train(config, policy, run_folder, view.on_event)
    """

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._console = console
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True)
        self._warmup = self._bars.add_task("warm-up", total=None, note="", visible=False)
        self._iterations = self._bars.add_task("iterations", total=None, note="")
        self._episodes = self._bars.add_task("episodes", total=None, note="")
        self._rewards: list[float] = []
        self._gathered = 0
        self.last_iteration = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def on_event(self, event: TrainEvent) -> None:
        match event:
            case RunStarted():
                self._start(event)
            case WarmupStep():
                self._warm_up(event)
            case EpisodeFinished():
                self._episode(event)
            case AlarmRaised():
                self._say(f"{event.alarm.action.upper():>5}  {event.alarm.name}: {event.alarm.message}", style="yellow")
            case Imitated():
                self._say(
                    f"imitation after {event.iteration}: {event.rows} rows of the run's own successes", style="bold"
                )
            case IterationFinished():
                self._iteration(event)
            case Evaluated():
                self._evaluated(event)
            case Tested():
                self._say(f"test of the weights after {event.iteration}: {summary(event.evaluation)}", style="bold")
            case CheckpointSaved():
                self._bars.update(self._iterations, note=f"checkpoint {event.iteration}")

    def _start(self, event: RunStarted) -> None:
        self.last_iteration = event.resumed_at
        self._bars.update(self._iterations, total=event.iterations, completed=event.resumed_at)
        if event.resumed_at:
            self._say(f"goes on after iteration {event.resumed_at}")

    def _warm_up(self, event: WarmupStep) -> None:
        note = f"loss {event.loss:.3f}"
        self._bars.update(self._warmup, total=event.planned, completed=event.done, note=note, visible=True)
        if event.done == event.planned:
            self._say(f"warm-up: {event.planned} steps on demonstrations, {note}")
            self._bars.update(self._warmup, visible=False)

    def _episode(self, event: EpisodeFinished) -> None:
        if event.iteration != self._gathered:
            self._gathered, self._rewards = event.iteration, []
        if event.reward is not None:
            self._rewards.append(event.reward)
        mean = math.fsum(self._rewards) / len(self._rewards) if self._rewards else math.nan
        done = min(event.done, event.planned)
        self._bars.update(self._episodes, total=event.planned, completed=done, note=f"reward {mean:.3f}")

    def _iteration(self, event: IterationFinished) -> None:
        metrics = event.metrics
        seconds = metrics.seconds
        self.last_iteration = metrics.iteration
        self._bars.update(self._iterations, completed=metrics.iteration)
        speed = metrics.sampled_per_second
        sampled = f"{speed:,.0f} tokens/s  " if math.isfinite(speed) else ""  # the last groups may have ended before
        unscored = f"  {metrics.unscored} NOT scored" if metrics.unscored else ""
        self._say(
            f"{metrics.iteration:5d}  reward {metrics.reward_mean:.3f}  length {metrics.response_mean:.1f}  "
            f"entropy {metrics.update.entropy:.3f}  idle groups {metrics.zero_variance:.0%}  "
            f"{sampled}stale {metrics.staleness_mean:.1f}  bubble {metrics.bubble:.0%}  "
            f"{seconds.rollout + seconds.rows + seconds.update + seconds.publish:.2f} s{unscored}"
        )

    def _evaluated(self, event: Evaluated) -> None:
        split, best = event.evaluation.protocol.split, "  (best so far)" if event.best else ""
        self._say(f"evaluation on {split} after {event.iteration}: {summary(event.evaluation)}{best}", style="bold")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def summary(evaluation: Evaluation) -> str:
    """Reward and success in one line, and how many episodes are in neither."""
    reward, success = evaluation.reward, evaluation.success
    mean = "nothing scored" if reward.mean is None else f"reward {reward.mean:.3f}"
    error = f" ± {reward.standard_error:.3f}" if reward.standard_error is not None else ""
    rate = f"  success {success.rate:.1%}" if success.rate is not None else ""
    missing = evaluation.planned - evaluation.scored
    return f"{mean}{error}{rate}" + (f"  {missing} NOT scored" if missing else "")
