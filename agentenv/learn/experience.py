"""What an update learns from: scored episodes, their rows, and where each episode's tokens lie in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from agentenv.episode import Episode
from agentenv.learn.advantages import overlong_penalty
from agentenv.learn.config import OverlongConfig
from agentenv.learn.streams import Stream
from agentenv.trajectory import Row

Numbers = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeTokens:
    """The trained tokens of one episode in the order they were sampled, in whatever rows they lie. Shape [N] each.

    Attributes:
        rows: index of the row that holds the token. positions: its place there.
        turns: which of the episode's turns sampled it, counted from 0 without gaps.
    """

    rows: NDArray[numpy.int64]
    positions: NDArray[numpy.int64]
    turns: NDArray[numpy.int64]

    @classmethod
    def of(cls, episode: Episode, rows: Sequence[tuple[int, Row]]) -> EpisodeTokens:
        """Collects them from the episode's rows, given with their index among all rows."""
        if not rows:
            nothing = numpy.zeros(0, dtype=numpy.int64)
            return cls(nothing, nothing, nothing)
        places = [row.mask.nonzero()[0] for _, row in rows]
        indices = numpy.repeat([index for index, _ in rows], [len(each) for each in places])
        positions = numpy.concatenate(places)
        named = numpy.concatenate([row.turns[each] for (_, row), each in zip(rows, places, strict=True)])
        turns = numpy.searchsorted(sorted(turn.index for turn in episode.turns), named)
        order = numpy.lexsort((positions, indices, turns))
        return cls(indices[order], positions[order], turns[order])

    def __len__(self) -> int:
        return len(self.turns)

    def gather(self, streams: Sequence[Stream]) -> Numbers:
        """The tokens' numbers out of one stream a row, shape [N]."""
        values = numpy.empty(len(self))
        for row, here in self._by_row():
            values[here] = streams[row][self.positions[here]]
        return values

    def scatter(self, values: Numbers, streams: Sequence[Stream]) -> None:
        """Writes the tokens' numbers into one stream a row."""
        for row, here in self._by_row():
            streams[row][self.positions[here]] = values[here]

    def _by_row(self) -> Iterator[tuple[int, NDArray[numpy.bool_]]]:
        for row in numpy.unique(self.rows):
            yield int(row), self.rows == row

    def last_of(self, turn: int) -> int | None:
        """Where the last token of a turn is among these, or of the nearest turn before it that has any, or after it."""
        if not len(self):
            return None
        before = int(numpy.searchsorted(self.turns, turn, side="right")) - 1
        return max(before, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """Scored episodes and their rows.

    Attributes:
        episodes: each with a reward. rows: theirs. tokens: of each episode.
        rewards: of each episode and turn, shaping included.
        penalties: β · (log π_old − log π_ref) of each token, one stream a row; `None` without a price on divergence.
        values: what the critic says before each token, one stream a row; `None` without one.
    """

    episodes: tuple[Episode, ...]
    rows: tuple[Row, ...]
    tokens: tuple[EpisodeTokens, ...]
    rewards: tuple[tuple[float, ...], ...]
    penalties: tuple[Stream, ...] | None = None
    values: tuple[Stream, ...] | None = None

    @classmethod
    def of(cls, episodes: Sequence[Episode], rows: Sequence[Row], overlong: OverlongConfig | None = None) -> Experience:
        """The episodes that have a reward, and their rows among `rows`."""
        scored = [episode for episode in episodes if episode.reward is not None]
        names = {episode.id for episode in scored}
        kept = tuple(row for row in rows if row.episode_id in names)
        by_episode: dict[str, list[tuple[int, Row]]] = {name: [] for name in names}
        for index, row in enumerate(kept):
            by_episode[row.episode_id].append((index, row))
        tokens = tuple(EpisodeTokens.of(episode, by_episode[episode.id]) for episode in scored)
        rewards = tuple(
            _shaped(episode, len(of_episode), overlong) for episode, of_episode in zip(scored, tokens, strict=True)
        )
        return cls(tuple(scored), kept, tokens, rewards)

    def streams(self) -> list[Stream]:
        """A new stream of zeros for every row."""
        return [numpy.zeros(len(row.ids), dtype=numpy.float32) for row in self.rows]

    def token_rewards(self, index: int) -> Numbers:
        """r of each token of an episode: its turn's reward at the turn's last token, less what divergence costs."""
        tokens = self.tokens[index]
        rewards = numpy.zeros(len(tokens)) if self.penalties is None else -tokens.gather(self.penalties)
        for turn, reward in enumerate(self.rewards[index]):
            at = tokens.last_of(turn)
            if at is not None:
                rewards[at] += reward
        return rewards

    def turn_rewards(self, index: int) -> tuple[float, ...]:
        """r of each turn of an episode, less what the divergence of its tokens costs."""
        rewards = numpy.array(self.rewards[index])
        if self.penalties is not None:
            tokens = self.tokens[index]
            numpy.subtract.at(rewards, tokens.turns, tokens.gather(self.penalties))
        return tuple(rewards.tolist())


def _shaped(episode: Episode, sampled: int, overlong: OverlongConfig | None) -> tuple[float, ...]:
    turns = sorted(episode.turns, key=lambda turn: turn.index)
    rewards = [float(turn.reward) for turn in turns if turn.reward is not None]
    if overlong is not None:
        rewards[-1] += overlong.weight * overlong_penalty(sampled, overlong.maximum, overlong.cushion)
    return tuple(rewards)
