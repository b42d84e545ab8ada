"""What a training run tells whoever watches it. Nothing here prints; the command line renders these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentenv.evaluate import Evaluation
from agentenv.learn.alarms import Raised
from agentenv.learn.metrics import IterationMetrics
from agentenv.outcome import Status


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Everything is loaded. `resumed_at` is the iteration of the checkpoint the run goes on from; 0 for a new run."""

    run_folder: Path
    iterations: int
    episodes_per_iteration: int
    resumed_at: int


@dataclass(frozen=True, slots=True)
class WarmupStep:
    """One optimizer step on demonstrations; `done` of `planned` are finished. `loss` is in nats per token."""

    done: int
    planned: int
    loss: float


@dataclass(frozen=True, slots=True)
class Tested:
    """A greedy test of the weights after `iteration` on the final test's tasks; its episodes lie in `folder`."""

    iteration: int
    evaluation: Evaluation
    folder: Path


@dataclass(frozen=True, slots=True)
class EpisodeFinished:
    """One training episode, while those of `iteration` are gathered.

    `done` have finished since the iteration before took its own; more than `planned` where rollouts run ahead or
    groups are dropped.
    """

    iteration: int
    done: int
    planned: int
    status: Status
    reward: float | None


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """A figure of an iteration that says that the run is going wrong."""

    iteration: int
    alarm: Raised


@dataclass(frozen=True, slots=True)
class IterationFinished:
    """An update was made and its weights are being served."""

    metrics: IterationMetrics


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A greedy evaluation of the weights after `iteration` (0: before training). `best` so far or not."""

    iteration: int
    evaluation: Evaluation
    best: bool


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """The run can go on from here."""

    iteration: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Imitated:
    """A phase of supervised learning on `rows` rows of the run's own successes, after the update of `iteration`."""

    iteration: int
    rows: int


TrainEvent = (
    RunStarted
    | WarmupStep
    | EpisodeFinished
    | AlarmRaised
    | Imitated
    | IterationFinished
    | Evaluated
    | CheckpointSaved
    | Tested
)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended.

    Attributes:
        iterations: how many were done in all.
        best_folder: the model with the best evaluation, in `save_pretrained` layout with its tokenizer.
        best_iteration: after which iteration it was; 0 for the model the run started from.
        best_reward: its mean reward on the evaluation split; `None` when no evaluation was scored.
        last_folder: the latest checkpoint.
        stopped: what an alarm said that ended the run before its time; `None` for a run that was not ended so.
        before, after: the final test of the model the iterations started from, and of the best one; `None` without.
    """

    run_folder: Path
    iterations: int
    best_folder: Path
    best_iteration: int
    best_reward: float | None
    last_folder: Path
    stopped: str | None = None
    before: Tested | None = None
    after: Tested | None = None
