"""The numbers of one iteration, as they go into `metrics.jsonl` and to whoever shows progress."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from agentenv.learn.accounting import sampled_tokens
from agentenv.learn.diagnostics import UpdateDiagnostics
from agentenv.learn.groups import Batch
from agentenv.learn.learner import Learned
from agentenv.rollout import Lap
from agentenv.trajectory import Row


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall-clock time of an iteration's parts; `rollout` is how long the learner waited for its groups."""

    rollout: float
    rows: float
    update: float
    publish: float

    @property
    def total(self) -> float:
        return self.rollout + self.rows + self.update + self.publish


@dataclass(frozen=True, slots=True)
class IterationMetrics:
    """One iteration. Means are over scored episodes; `nan` where there is nothing to average.

    Attributes:
        iteration: from 1. version: of the weights after it.
        episodes: played. statuses: how they ended. unscored: those without a reward, failures included.
        reward_mean, reward_std, reward_max: of the episodes' returns.
        components: mean of each reward component, unweighted. metrics: of what the environment reported.
        turns: per episode.
        response_mean, response_max: sampled tokens per episode.
        capped: share of model calls that ran into `max_tokens`.
        groups_drawn: groups that ended for this update, `groups_dropped` of them refused by dynamic sampling; all other
            numbers are of those that were kept, but `reward_drawn` is the mean over all.
        groups: with a scored member. zero_variance: share of them without anything to learn from, singletons included.
        all_correct, all_wrong: share of the groups in which every scored member succeeded (`groups.success`), or none.
        unique: share of a group's answers that differ from those of its earlier members, over all groups.
        rows, row_tokens: training rows and all their tokens. excluded: model calls in no row, by reason.
        continued: share of an episode's later model calls whose prompt is exactly an earlier call's tokens and more;
            the others begin rows of their own. departures: how their prompts departed (`agentenv.trajectory.Drift`).
        staleness_mean: weight versions between the sampling of a token and this update. staleness: tokens by them.
        wall_seconds: since the last update. bubble: share of it in which the policy had nothing to do.
        anchors, explained_variance, pretraining, skipped, kl_coefficient: see `Credit` and `Learned`.
        alarms: names of those that were raised.
        sampled_per_second: tokens of the episodes that ended since the last update, over the time in which the policy
            had something to do.
        trained_per_second: tokens over the update's time.
    """

    iteration: int
    version: int
    episodes: int
    statuses: Mapping[str, int]
    unscored: int
    reward_mean: float
    reward_std: float
    reward_max: float
    reward_drawn: float
    components: Mapping[str, float]
    metrics: Mapping[str, float]
    turns: float
    response_mean: float
    response_max: float
    capped: float
    groups_drawn: int
    groups_dropped: int
    groups: int
    all_correct: float
    all_wrong: float
    unique: float
    zero_variance: float
    rows: int
    row_tokens: int
    excluded: Mapping[str, int]
    continued: float
    departures: Mapping[str, int]
    staleness_mean: float
    staleness: Mapping[int, int]
    wall_seconds: float
    bubble: float
    anchors: int
    explained_variance: float
    pretraining: bool
    skipped: bool
    alarms: tuple[str, ...]
    kl_coefficient: float
    update: UpdateDiagnostics
    seconds: Seconds
    sampled_per_second: float
    trained_per_second: float

    @classmethod
    def of(
        cls,
        iteration: int,
        batch: Batch,
        learned: Learned,
        seconds: Seconds,
        lap: Lap,
        sampled: int,
        success: float = 1.0,
    ) -> IterationMetrics:
        """Everything from one iteration's groups and what was learnt from them. Versions count iterations.

        Args:
            lap: the time since the last update. sampled: tokens of the training episodes that ended in it.
            success: the return from which on an episode is correct.
        """
        rows, groups, update = learned.rows, learned.credit.groups, learned.update
        episodes = batch.episodes
        drawn = [episode for group in batch.drawn for episode in group.episodes]
        scored = [episode for episode in episodes if episode.reward is not None]
        rewards = [episode.reward for episode in scored if episode.reward is not None]
        mean = _mean(rewards)
        responses = [float(sampled_tokens(episode)) for episode in scored]
        reasons = [turn.finish_reason for episode in scored for turn in episode.turns]
        idle = groups.zero_variance_groups + groups.singleton_groups
        staleness = _staleness(rows.rows, iteration)
        correct = [
            [episode.reward >= success for episode in group.episodes if episode.reward is not None]
            for group in batch.groups
            if group.scored
        ]
        return cls(
            iteration=iteration,
            version=iteration,
            episodes=len(episodes),
            statuses=dict(Counter(episode.status.value for episode in episodes)),
            unscored=len(episodes) - len(scored),
            reward_mean=mean,
            reward_std=math.sqrt(_mean([(reward - mean) ** 2 for reward in rewards])),
            reward_max=max(rewards, default=math.nan),
            reward_drawn=_mean([episode.reward for episode in drawn if episode.reward is not None]),
            components=_means(episode.components for episode in scored),
            metrics=_means(episode.metrics for episode in scored),
            turns=_mean([float(len(episode.turns)) for episode in scored]),
            response_mean=_mean(responses),
            response_max=max(responses, default=math.nan),
            capped=_ratio(sum(reason == "length" for reason in reasons), len(reasons)),
            groups_drawn=len(batch.drawn),
            groups_dropped=len(batch.dropped),
            groups=groups.groups,
            all_correct=_ratio(sum(map(all, correct)), len(correct)),
            all_wrong=_ratio(sum(not any(members) for members in correct), len(correct)),
            unique=_unique(batch),
            zero_variance=_ratio(idle, groups.groups),
            rows=len(rows.rows),
            row_tokens=sum(len(row.ids) for row in rows.rows),
            excluded=dict(Counter(exclusion.reason.value for exclusion in rows.excluded)),
            continued=_ratio(rows.links.continued, rows.links.later),
            departures={drift.value: count for drift, count in sorted(rows.links.departures.items())},
            staleness_mean=_ratio(sum(age * count for age, count in staleness.items()), sum(staleness.values())),
            staleness=staleness,
            wall_seconds=lap.seconds,
            bubble=lap.bubble,
            anchors=learned.credit.anchors,
            explained_variance=learned.explained_variance,
            pretraining=learned.pretraining,
            skipped=learned.skipped,
            alarms=tuple(alarm.name for alarm in learned.raised),
            kl_coefficient=learned.kl_coefficient,
            update=update,
            seconds=seconds,
            sampled_per_second=_ratio(sampled, lap.busy_seconds),
            trained_per_second=_ratio(update.tokens, seconds.update),
        )


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, each with its `kind` and `iteration`. Lines are only ever appended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def forget_after(self, iteration: int, *, evaluation: int) -> None:
        """Drops what a resumed run is about to write again, and a torn last line.

        Args:
            iteration: lines of later ones go. evaluation: so do evaluations of iterations later than this one.
        """
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["iteration"] <= (evaluation if entry["kind"] == "evaluation" else iteration):
                kept.append(line + "\n")
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        os.replace(partial, self._path)

    def append(self, kind: str, values: Mapping[str, Any]) -> None:
        """Writes one line. Numbers that are not finite become null, since JSON has no other word for them."""
        entry = {"kind": kind, **_plain(values)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")

    def seconds(self) -> float:
        """What all iterations so far have taken."""
        return sum(Seconds(**entry["seconds"]).total for entry in self.read() if entry["kind"] == "iteration")

    def read(self) -> list[dict[str, Any]]:
        """All lines; none when there is no file yet."""
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]


def as_values(record: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries."""
    return dataclasses.asdict(record)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unique(batch: Batch) -> float:
    """The share of different answers: what episodes of a group sampled, counted once where several said the same."""
    said = [
        [
            tuple(turn.action.tokens.sampled_ids for turn in episode.turns if turn.action.tokens is not None)
            for episode in group.episodes
            if episode.reward is not None
        ]
        for group in batch.groups
    ]
    return _ratio(sum(len(set(answers)) for answers in said), sum(map(len, said)))


def _staleness(rows: Sequence[Row], iteration: int) -> dict[int, int]:
    """How many trained tokens were sampled so many versions before the one this iteration starts from."""
    if not rows:
        return {}
    ages = iteration - 1 - numpy.concatenate([row.versions[row.mask] for row in rows])
    return {int(age): int(count) for age, count in zip(*numpy.unique(ages, return_counts=True), strict=True)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _means(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for table in tables:
        for name, value in table.items():
            if isinstance(value, int | float):  # an environment may report anything; it must not end the run
                found.setdefault(name, []).append(float(value))
    return {name: _mean(values) for name, values in sorted(found.items())}
