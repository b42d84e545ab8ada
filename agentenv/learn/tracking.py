"""A run's numbers in other people's programs: TensorBoard and Weights & Biases, through their own libraries.

`metrics.jsonl` holds everything in any case. Nothing leaves the machine unless the library asked for is set up to send
it: TensorBoard writes files; Weights & Biases obeys its own settings, such as `WANDB_MODE=offline`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentenv.errors import MissingExtraError
from agentenv.learn.config.tracking import Tracking
from agentenv.learn.events import Evaluated, IterationFinished, Tested, TrainEvent
from agentenv.learn.metrics import as_values


class Tracker(ABC):
    """Takes a run's events and writes their numbers down. Use it as a context manager."""

    @abstractmethod
    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Writes finite numbers of one iteration."""

    @abstractmethod
    def close(self) -> None:
        """Finishes what is written."""

    def on_event(self, event: TrainEvent) -> None:
        """Writes the numbers of iterations, evaluations and tests; other events have none."""
        match event:
            case IterationFinished():
                self.write(dict(scalars("train", as_values(event.metrics))), event.metrics.iteration)
            case Evaluated():
                values = event.evaluation.to_json()
                numbers = {name: values[name] for name in ("reward", "success", "averages")}
                self.write(dict(scalars("evaluation", numbers)), event.iteration)
            case Tested():
                values = event.evaluation.to_json()
                numbers = {name: values[name] for name in ("reward", "success")}
                self.write(dict(scalars("test", numbers)), event.iteration)


class TensorBoard(Tracker):
    """Event files in a folder: look at them with `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingExtraError("tracking with TensorBoard", "tracking") from error
        self._writer = SummaryWriter(str(folder))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases whose files lie in a folder; its environment variables say where it goes from there."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise MissingExtraError("tracking with Weights & Biases", "tracking") from error
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(dir=str(folder), name=name, config=dict(config))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        self._run.finish()


def open_trackers(wanted: Sequence[Tracking], run_folder: Path, config: Mapping[str, Any]) -> list[Tracker]:
    """The trackers asked for; their files lie in the run folder.

    Raises:
        MissingExtraError: a library is not installed.
    """
    opened: list[Tracker] = []
    for kind in dict.fromkeys(wanted):
        if kind is Tracking.TENSORBOARD:
            opened.append(TensorBoard(run_folder / "tensorboard"))
        else:
            opened.append(WeightsAndBiases(run_folder, run_folder.name, config))
    return opened


def scalars(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The finite numbers of nested tables, named by their path.

    >>> dict(scalars("train", {"reward": 0.5, "update": {"loss": 1, "kl": None}, "note": "x"}))
    {'train/reward': 0.5, 'train/update/loss': 1.0}
    """
    for name, value in values.items():
        here = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            yield from scalars(here, value)
        elif isinstance(value, int | float) and math.isfinite(value):
            yield here, float(value)
