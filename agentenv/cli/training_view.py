"""A training run at the terminal: two progress bars, one line per iteration, and the learning curve at the end."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentenv.learn.events import (
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    IterationFinished,
    RunStarted,
    TrainEvent,
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
        self._iterations = self._bars.add_task("iterations", total=None, note="")
        self._episodes = self._bars.add_task("episodes", total=None, note="")
        self._rewards: list[float] = []
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
            case EpisodeFinished():
                self._episode(event)
            case IterationFinished():
                self._iteration(event)
            case Evaluated():
                self._evaluated(event)
            case CheckpointSaved():
                self._bars.update(self._iterations, note=f"checkpoint {event.iteration}")

    def _start(self, event: RunStarted) -> None:
        self.last_iteration = event.resumed_at
        self._bars.update(self._iterations, total=event.iterations, completed=event.resumed_at)
        if event.resumed_at:
            self._say(f"goes on after iteration {event.resumed_at}")

    def _episode(self, event: EpisodeFinished) -> None:
        if event.done == 1:
            self._rewards = []
        if event.reward is not None:
            self._rewards.append(event.reward)
        mean = math.fsum(self._rewards) / len(self._rewards) if self._rewards else math.nan
        self._bars.update(self._episodes, total=event.planned, completed=event.done, note=f"reward {mean:.3f}")

    def _iteration(self, event: IterationFinished) -> None:
        metrics = event.metrics
        seconds = metrics.seconds
        self.last_iteration = metrics.iteration
        self._bars.update(self._iterations, completed=metrics.iteration)
        unscored = f"  {metrics.unscored} NOT scored" if metrics.unscored else ""
        self._say(
            f"{metrics.iteration:5d}  reward {metrics.reward_mean:.3f}  length {metrics.response_mean:.1f}  "
            f"entropy {metrics.update.entropy:.3f}  idle groups {metrics.zero_variance:.0%}  "
            f"{metrics.sampled_per_second:,.0f} tokens/s  "
            f"{seconds.rollout + seconds.rows + seconds.update + seconds.publish:.2f} s{unscored}"
        )

    def _evaluated(self, event: Evaluated) -> None:
        reward, success = event.evaluation.reward, event.evaluation.success
        mean = "not scored" if reward.mean is None else f"reward {reward.mean:.3f}"
        error = f" ± {reward.standard_error:.3f}" if reward.standard_error is not None else ""
        rate = f"  success {success.rate:.1%}" if success.rate is not None else ""
        best = "  (best so far)" if event.best else ""
        split = event.evaluation.protocol.split
        self._say(f"evaluation on {split} after {event.iteration}: {mean}{error}{rate}{best}", style="bold")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def draw_curve(run_folder: Path) -> Path | None:
    """Writes `learning_curve.png` into a run folder from its metrics.

    Returns where it lies; `None` when matplotlib is not installed or there is nothing to draw yet.
    """
    with contextlib.suppress(ImportError):
        from matplotlib.figure import Figure

        entries = _entries(run_folder / "metrics.jsonl")
        iterations = [entry for entry in entries if entry["kind"] == "iteration"]
        evaluations = [entry for entry in entries if entry["kind"] == "evaluation"]
        if not iterations:
            return None
        figure = Figure(figsize=(9, 6), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True).flat
        at = [entry["iteration"] for entry in iterations]
        curves: list[tuple[str, list[Any]]] = [
            ("reward", [entry["reward_mean"] for entry in iterations]),
            ("sampled tokens per episode", [entry["response_mean"] for entry in iterations]),
            ("entropy (nats per token)", [entry["update"]["entropy"] for entry in iterations]),
            ("sampled tokens per second", [entry["sampled_per_second"] for entry in iterations]),
        ]
        for panel, (title, values) in zip(panels, curves, strict=True):
            panel.plot(at, [math.nan if value is None else value for value in values], label="training")
            panel.set_title(title)
            panel.grid(alpha=0.3)
            if title == "reward" and evaluations:
                means = [entry["reward"]["mean"] for entry in evaluations]
                errors = [entry["reward"]["standard_error"] or 0.0 for entry in evaluations]
                shown = [math.nan if mean is None else mean for mean in means]
                panel.errorbar(
                    [entry["iteration"] for entry in evaluations], shown, yerr=errors, marker="o", label="evaluation"
                )
                panel.legend()
        figure.supxlabel("iteration")
        path = run_folder / "learning_curve.png"
        figure.savefig(path, dpi=120)
        return path
    return None


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
