"""The producer: one run of the rollout engine for the whole training run, which waits for nobody but admission."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from agentenv.episode import Episode
from agentenv.learn.accounting import sampled_tokens
from agentenv.learn.admission import Admission, Standing
from agentenv.learn.buffer import Buffer, Settled
from agentenv.learn.config import TrainConfig
from agentenv.learn.errors import LearnError
from agentenv.learn.events import EpisodeFinished
from agentenv.learn.groups import Batch, Group, GroupRequests
from agentenv.learn.selection import worth_learning
from agentenv.rollout import EpisodeRequest, RolloutEngine
from agentenv.trajectory import group_id


@dataclass(slots=True)
class _Running:
    """A group that has begun, and its episodes that have ended."""

    number: int
    requests: list[EpisodeRequest]
    episodes: dict[int, Episode] = field(default_factory=dict)


class Rollouts:
    """Plays groups as admission allows, gathers their episodes and hands them to updates, oldest complete group first.

    Three sides meet here, and none of them waits for another: `play` runs from the beginning to the end of training,
    `take` waits for the next update's groups only, and `publish` opens admission without waiting for anything.

    Args:
        version: updates published so far. settled: the groups they took or dropped; they are not played again.
        tell: told of each episode as it ends.
    """

    def __init__(
        self,
        config: TrainConfig,
        requests: GroupRequests,
        engine: RolloutEngine,
        version: int,
        settled: Settled,
        tell: Callable[[EpisodeFinished], None],
    ) -> None:
        self._config = config
        self._requests = requests
        self._engine = engine
        self._settled = settled
        self._tell = tell
        self._admission = Admission.of(config)
        self._version = self._taken = version
        self._running: dict[str, _Running] = {}
        self._buffer = Buffer()
        self._dropped: list[Group] = []
        self._ended = 0
        self._sampled = 0
        self._playing = False
        self._room, self._enough = asyncio.Event(), asyncio.Event()

    @property
    def standing(self) -> Standing:
        return Standing(self._version, self._taken, len(self._running), len(self._buffer), len(self._dropped))

    @property
    def playing(self) -> bool:
        """Whether episodes are being played."""
        return self._playing

    async def play(self) -> None:
        """Plays until it is cancelled; then what is in flight is cancelled too.

        Raises:
            ConfigError: the source of tasks has too few different ones.
            JournalError: the journal cannot be written.
        """
        self._playing = True
        try:
            async with aclosing(self._engine.run(self._admitted())) as episodes:
                async for episode in episodes:
                    self._add(episode)
        finally:
            self._playing = False

    async def take(self) -> Batch:
        """Waits until the next update has its groups, and takes them: the oldest of those that are complete.

        Raises:
            LearnError: none of their episodes was scored, nor of those that were dropped.
        """
        while not self._admission.enough(self.standing):
            self._enough.clear()
            await self._enough.wait()
        dropped = sorted(self._dropped, key=lambda group: group.number)
        batch = Batch(self._buffer.take(self._admission.size), tuple(dropped))
        self._dropped.clear()
        self._taken += 1
        self._ended -= sum(len(group.episodes) for group in batch.drawn)
        if not any(group.scored for group in batch.drawn):
            episodes = [episode for group in batch.drawn for episode in group.episodes]
            raise LearnError(f"iteration {self._taken}: no episode was scored. {_commonest_failure(episodes)}")
        self._changed()
        return batch

    def replay(self) -> None:
        """Notes that an update's groups came from the log of the run that is being continued."""
        self._taken += 1

    def publish(self, version: int) -> None:
        """Opens admission for groups played by these weights."""
        self._version = version
        self._changed()

    def sampled(self) -> int:
        """Tokens of the episodes that have ended since this was last asked."""
        sampled, self._sampled = self._sampled, 0
        return sampled

    @property
    def untrained(self) -> list[Episode]:
        """Episodes that have ended and are in no update."""
        complete = [episode for group in (*self._buffer, *self._dropped) for episode in group.episodes]
        return complete + [episode for running in self._running.values() for episode in running.episodes.values()]

    @property
    def in_flight(self) -> list[EpisodeRequest]:
        """Episodes of groups that have begun which have not ended, whether or not they had a place yet."""
        return [
            request
            for running in self._running.values()
            for request in running.requests
            if request.key.sibling not in running.episodes
        ]

    async def _admitted(self) -> AsyncGenerator[EpisodeRequest, None]:
        """The requests of one group after another, each as soon as admission lets it begin."""
        for number in itertools.count(self._settled.below):
            if number in self._settled:
                continue
            while self._admission.capacity(self.standing) <= 0:
                self._room.clear()
                await self._room.wait()
            requests = self._requests.of(number)
            self._running[group_id(requests[0].key)] = _Running(number, requests)
            for request in requests:
                yield request
            await asyncio.sleep(0)  # a thousand at once would move through every step side by side

    def _add(self, episode: Episode) -> None:
        name = group_id(episode.key)
        running = self._running[name]
        running.episodes[episode.key.sibling] = episode
        self._ended += 1
        self._sampled += sampled_tokens(episode)
        planned = self._config.tasks_per_iteration * self._config.siblings
        self._tell(EpisodeFinished(self._taken + 1, self._ended, planned, episode.status, episode.reward))
        if len(running.episodes) == self._config.siblings:
            del self._running[name]
            self._complete(Group(running.number, tuple(running.episodes[at] for at in sorted(running.episodes))))

    def _complete(self, group: Group) -> None:
        groups = self._config.groups
        if groups.dynamic_sampling and not worth_learning(group.episodes, groups):
            self._dropped.append(group)
        else:
            self._buffer.add(group)
        self._changed()

    def _changed(self) -> None:
        self._room.set()
        self._enough.set()


def _commonest_failure(episodes: Sequence[Episode]) -> str:
    messages = Counter(episode.failure.message for episode in episodes if episode.failure is not None)
    if not messages:
        return "The environment returned None, not scored, for every one."
    message, count = messages.most_common(1)[0]
    return f"{count} of {len(episodes)} failed with: {message}"
