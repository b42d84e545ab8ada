"""The numbers of an evaluation, made from its episodes."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.episode import Episode, Turn
from agentenv.evaluate.protocol import Protocol
from agentenv.evaluate.statistics import Estimate, Proportion, clustered_mean, success_rate
from agentenv.outcome import Failure, Status
from agentenv.rollout import Stall

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation keeps of one episode."""

    task_id: str
    status: Status
    stop_reason: str
    reward: float | None
    components: Mapping[str, float]
    metrics: Mapping[str, float]
    turns: int
    tool_calls: int
    tool_errors: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    failure: Failure | None

    @classmethod
    def of(cls, episode: Episode) -> Outcome:
        turns = episode.turns
        return cls(
            task_id=episode.task.id,
            status=episode.status,
            stop_reason=episode.stop_reason.value,
            reward=episode.reward,
            components=episode.components,
            metrics=episode.metrics,
            turns=len(turns),
            tool_calls=sum(len(turn.action.message.tool_calls) for turn in turns),
            tool_errors=sum(map(_tool_errors, turns)),
            prompt_tokens=sum(turn.usage.prompt_tokens for turn in turns),
            completion_tokens=sum(turn.usage.completion_tokens for turn in turns),
            seconds=episode.seconds,
            failure=episode.failure,
        )


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Episodes that failed in the same way."""

    status: Status
    where: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Blocking:
    """A call that blocked the event loop, so that every episode had to wait; nobody but its own is charged for it.

    Attributes:
        where: such as ``"slow-v0.step"``. code: the line it stood on the longest time, `""` when unknown.
        seconds: all `count` times together.
    """

    where: str
    code: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Averages:
    """Means over the scored episodes; seconds and tokens are per episode."""

    turns: float
    tool_calls: float
    tool_errors: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation. Every mean is over scored episodes; failures are counted apart, never as zeros.

    Attributes:
        planned: episodes that were to be played. scored: those with a reward. unscored: all others that ended.
        statuses, stop_reasons: how many episodes ended in which way.
        reward: mean return and its standard error, clustered by task.
        success: share of scored episodes that succeeded, with a 95 % interval; the environment's own metric
            `success` where it reports one, otherwise a return of at least `protocol.success_at`.
        components, metrics: means of the reward components (unweighted) and of what the environment reported.
        failures: the commonest first.
        blocking: the calls that blocked the event loop, the worst first.
        wall_seconds: of this invocation alone, as is `blocking`; a resumed run took longer in all.
    """

    protocol: Protocol
    planned: int
    scored: int
    unscored: int
    statuses: Mapping[str, int]
    stop_reasons: Mapping[str, int]
    reward: Estimate
    success: Proportion
    components: Mapping[str, float]
    metrics: Mapping[str, float]
    averages: Averages | None
    failures: Sequence[FailureCount]
    blocking: Sequence[Blocking]
    wall_seconds: float

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        outcomes: Sequence[Outcome],
        *,
        planned: int,
        wall_seconds: float,
        stalls: Iterable[Stall] = (),
    ) -> Evaluation:
        scored = [outcome for outcome in outcomes if outcome.reward is not None]
        successes = [(outcome.task_id, _succeeded(outcome, protocol.success_at)) for outcome in scored]
        return cls(
            protocol=protocol,
            planned=planned,
            scored=len(scored),
            unscored=len(outcomes) - len(scored),
            statuses=_counts(outcome.status.value for outcome in outcomes),
            stop_reasons=_counts(outcome.stop_reason for outcome in outcomes),
            reward=clustered_mean((outcome.task_id, outcome.reward) for outcome in scored),
            success=success_rate((task, success) for task, success in successes if success is not None),
            components=_means(outcome.components for outcome in scored),
            metrics=_means(outcome.metrics for outcome in scored),
            averages=_averages(scored),
            failures=_failures(outcomes),
            blocking=_blocking(stalls),
            wall_seconds=wall_seconds,
        )

    @property
    def complete(self) -> bool:
        """Whether every planned episode was scored."""
        return self.scored == self.planned

    def to_json(self) -> dict[str, Any]:
        """The whole result as JSON-serialisable values."""
        result = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        result["protocol"] = self.protocol.model_dump(mode="json")
        result["reward"] = dataclasses.asdict(self.reward)
        result["success"] = dataclasses.asdict(self.success)
        result["averages"] = dataclasses.asdict(self.averages) if self.averages else None
        result["failures"] = [dataclasses.asdict(failure) for failure in self.failures]
        result["blocking"] = [dataclasses.asdict(blocking) for blocking in self.blocking]
        return {"protocol_hash": self.protocol.hash, **result}


def _tool_errors(turn: Turn) -> int:
    """Calls that went wrong, as `info["tools"]` has them; an environment may put anything there."""
    calls = turn.info.get("tools")
    found = calls if isinstance(calls, list | tuple) else ()
    return sum(isinstance(call, Mapping) and call.get("error") is not None for call in found)


def _succeeded(outcome: Outcome, success_at: float | None) -> bool | None:
    if "success" in outcome.metrics:
        return bool(outcome.metrics["success"])
    if success_at is None or outcome.reward is None:
        return None
    return outcome.reward >= success_at - _TOLERANCE


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _means(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each name over the tables that have it."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for table in tables:
        for name, value in table.items():
            found[name].append(float(value))
    return {name: math.fsum(values) / len(values) for name, values in sorted(found.items())}


def _averages(outcomes: Sequence[Outcome]) -> Averages | None:
    if not outcomes:
        return None
    names = [field.name for field in dataclasses.fields(Averages)]
    means = _means({name: float(getattr(outcome, name)) for name in names} for outcome in outcomes)
    return Averages(**means)


def _failures(outcomes: Iterable[Outcome]) -> list[FailureCount]:
    counted = Counter(
        (outcome.status, outcome.failure.where, outcome.failure.message)
        for outcome in outcomes
        if outcome.failure is not None
    )
    return [FailureCount(*key, count) for key, count in counted.most_common()]


def _blocking(stalls: Iterable[Stall]) -> list[Blocking]:
    """By call. Stalls that no single call caused, an overloaded machine say, are left out."""
    found: defaultdict[str, list[Stall]] = defaultdict(list)
    for stall in stalls:
        if stall.where is not None:
            found[stall.where].append(stall)
    blocking = [
        Blocking(where, max(own, key=lambda stall: stall.seconds).code, len(own), math.fsum(one.seconds for one in own))
        for where, own in found.items()
    ]
    return sorted(blocking, key=lambda one: -one.seconds)
