"""What one attempt at an episode leaves behind: the record the engine writes and everything downstream reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentenv.env import Action, Observation
from agentenv.outcome import Failure, Status, StopReason
from agentenv.rewards import Reward
from agentenv.tasks import Task


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, as the endpoint counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call and the step it led to.

    Attributes:
        index: 0 for the first turn.
        observation: the messages that were new before this turn (for turn 0 the whole opening) and the tools.
        action: what the policy said, with its token record when known.
        finish_reason: as the endpoint gave it: ``"stop"``, ``"length"``, ``"tool_calls"``, …
        reward: of this step; `None` when not scored.
        state_key: the state the agent was in *before* acting, where the environment names one.
        info: the step's diagnostics.
        model_seconds, environment_seconds: wall-clock time of the two halves.
        model_attempts: calls it took to get an answer; above 1 after retries.
    """

    index: int
    observation: Observation
    action: Action
    finish_reason: str
    usage: Usage
    reward: Reward | None
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)
    state_key: str | None = None
    model_seconds: float = 0.0
    environment_seconds: float = 0.0
    model_attempts: int = 1


@dataclass(frozen=True, slots=True)
class EpisodeKey:
    """Which episode this is; attempts at the same episode share it, and a run holds at most one finished one.

    `group` names the siblings that are compared with each other (usually one task in one iteration), `sibling`
    counts them from 0, and `iteration` is the training step or 0.
    """

    environment: str
    task_id: str
    group: str
    sibling: int
    iteration: int = 0

    def __str__(self) -> str:
        return f"{self.environment}/{self.iteration}/{self.group}/{self.task_id}/{self.sibling}"


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt, finished or failed.

    Attributes:
        id: unique to this attempt.
        attempt: 1 for the first try, counting up.
        final_observation: what the environment answered to the last turn (needed to bootstrap a truncated one).
        failure: what went wrong, for every status but `ok` and `truncated`.
        started_at: seconds since the epoch. seconds: wall-clock time from creation to close.
    """

    id: str
    key: EpisodeKey
    task: Task
    seed: int
    policy: str
    attempt: int
    status: Status
    stop_reason: StopReason
    turns: tuple[Turn, ...]
    final_observation: Observation = field(default_factory=Observation)
    failure: Failure | None = None
    started_at: float = 0.0
    seconds: float = 0.0

    @property
    def reward(self) -> float | None:
        """The episode's return: the sum of its step rewards; `None` unless it was scored from first to last."""
        if not self.status.scored or not self.turns or any(turn.reward is None for turn in self.turns):
            return None
        return math.fsum(turn.reward for turn in self.turns if turn.reward is not None)

    @property
    def components(self) -> dict[str, float]:
        """Unweighted reward components by name, summed over the turns."""
        totals: dict[str, float] = {}
        for turn in self.turns:
            for component in turn.reward.components if turn.reward is not None else ():
                totals[component.name] = totals.get(component.name, 0.0) + component.value
        return totals

    @property
    def metrics(self) -> dict[str, float]:
        """Every finite number the environment reported under `info["metrics"]`; the last turn to report one wins.

        An environment may put anything there; what is no number is left in the turn's info and out of here.
        """
        found: dict[str, float] = {}
        for turn in self.turns:
            reported = turn.info.get("metrics")
            for name, value in reported.items() if isinstance(reported, Mapping) else ():
                if (number := _finite(value)) is not None:
                    found[str(name)] = number
        return found


def _finite(value: object) -> float | None:
    """The number a value stands for, NumPy's flags and scalars included; `None` for anything else."""
    if isinstance(value, str | bytes):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # an array, a number beyond a float's reach, or whatever an object's __float__ raises
        return None
    return number if math.isfinite(number) else None
