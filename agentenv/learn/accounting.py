"""`accounting.json`: which episodes were trained on, next to all that were started.

An asynchronous run that lost its slow episodes would train on data that lean towards quick, easy tasks. Whether this
one did is counted here, by task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from agentenv.episode import Episode
from agentenv.learn.groups import Batch


class Fate(StrEnum):
    """What became of an episode.

    `TRAINED`: its group was in an update. `DROPPED`: dynamic sampling refused its group. `WAITING`: it has ended and is
    in no update yet. `CANCELLED`: it was in flight when the run ended. The latter two are what a run cuts off.
    """

    TRAINED = "trained"
    DROPPED = "dropped"
    WAITING = "waiting"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Amount:
    """So many episodes, with all their sampled tokens and their wall-clock seconds."""

    episodes: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.episodes + other.episodes, self.tokens + other.tokens, self.seconds + other.seconds)

    @classmethod
    def of(cls, episode: Episode) -> Amount:
        return cls(1, sampled_tokens(episode), episode.seconds)

    def means(self) -> dict[str, float | None]:
        """Tokens and seconds of an episode; `None` of no episode."""
        count = self.episodes
        return {
            "tokens_mean": self.tokens / count if count else None,
            "seconds_mean": self.seconds / count if count else None,
        }


STAGES: Mapping[str, tuple[Fate, ...]] = {
    "started": tuple(Fate),
    "finished": (Fate.TRAINED, Fate.DROPPED, Fate.WAITING),
    "trained": (Fate.TRAINED,),
    "dropped": (Fate.DROPPED,),
    "cut": (Fate.WAITING, Fate.CANCELLED),
}
"""What is reported, each as the sum of these."""


class Ledger:
    """Amounts by task and fate.

    Args:
        state: what `state` of a ledger returned.
    """

    def __init__(self, state: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._amounts: dict[str, dict[Fate, Amount]] = {
            task: {Fate(fate): Amount(*values) for fate, values in fates.items()}
            for task, fates in (state or {}).items()
        }

    def settle(self, batch: Batch) -> None:
        """Counts the groups of an update, and those that were dropped on the way to it."""
        for groups, fate in ((batch.groups, Fate.TRAINED), (batch.dropped, Fate.DROPPED)):
            self._count((episode for group in groups for episode in group.episodes), fate)

    def state(self) -> dict[str, dict[str, tuple[int, int, float]]]:
        """Everything, in types that any file format has."""
        return {
            task: {fate.value: (sum_.episodes, sum_.tokens, sum_.seconds) for fate, sum_ in fates.items()}
            for task, fates in self._amounts.items()
        }

    def report(
        self, iteration: int, waiting: Iterable[Episode], cancelled: Iterable[Episode] = (), *, in_flight: int = 0
    ) -> dict[str, Any]:
        """The content of the file: a summary over all tasks, and each task.

        Args:
            waiting, cancelled: the episodes of these fates as things stand; they may yet come to another.
            in_flight: episodes that have begun, of which nothing is known yet.
        """
        now = Ledger(self.state())
        now._count(waiting, Fate.WAITING)
        now._count(cancelled, Fate.CANCELLED)
        tasks = {task: _stages(fates) for task, fates in sorted(now._amounts.items())}
        summary = {stage: sum((stages[stage] for stages in tasks.values()), Amount()) for stage in STAGES}
        return {
            "iteration": iteration,
            "in_flight": in_flight,
            "summary": {stage: asdict(amount) | amount.means() for stage, amount in summary.items()},
            "tasks": {
                task: {stage: asdict(amount) for stage, amount in stages.items() if amount.episodes}
                for task, stages in tasks.items()
            },
        }

    def _count(self, episodes: Iterable[Episode], fate: Fate) -> None:
        for episode in episodes:
            fates = self._amounts.setdefault(episode.key.task_id, {})
            fates[fate] = fates.get(fate, Amount()) + Amount.of(episode)


def sampled_tokens(episode: Episode) -> int:
    """How many tokens a policy sampled in an episode, as far as it told."""
    return sum(len(turn.action.tokens.sampled_ids) for turn in episode.turns if turn.action.tokens is not None)


def _stages(fates: Mapping[Fate, Amount]) -> dict[str, Amount]:
    return {stage: sum((fates.get(fate, Amount()) for fate in of), Amount()) for stage, of in STAGES.items()}
