"""Replay: do the environments of a journal still do what they did?"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from agentenv.env import Env, Observation
from agentenv.episode import Episode, EpisodeKey
from agentenv.outcome import Status
from agentenv.registry import EnvSpec
from agentenv.rewards import Component, Reward
from agentenv.rollout import codec
from agentenv.rollout.config import RolloutConfig
from agentenv.rollout.journal import Journal
from agentenv.rollout.recorded import play_again

SCORED = frozenset(status for status in Status if status.scored)


class Aspect(StrEnum):
    """What of a step differs."""

    OBSERVATION = "observation"
    REWARD = "reward"
    COMPONENTS = "components"
    TERMINATED = "terminated"
    TRUNCATED = "truncated"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that came out otherwise.

    Attributes:
        key, attempt: of the recorded episode.
        turn: the turn whose action led to it; -1 for what `reset` returned, and the last turn for the ending.
        recorded, replayed: both sides as text.
    """

    key: EpisodeKey
    attempt: int
    turn: int
    aspect: Aspect
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found. `episodes` and `turns` count what was compared; no differences means reproducible."""

    episodes: int
    turns: int
    differences: tuple[Difference, ...]


async def replay(
    journal: Journal,
    *,
    status: Status | Collection[Status] = SCORED,
    spec: EnvSpec | None = None,
    config: RolloutConfig = RolloutConfig(),  # noqa: B008 - immutable
    make_env: Callable[[EnvSpec], Env] = EnvSpec.make,
    on_episode: Callable[[Episode, tuple[Difference, ...]], None] = lambda episode, differences: None,
) -> ReplayReport:
    """Runs the environments of a journal once more on the recorded actions and compares every step. Asks no model.

    Args:
        journal: the record.
        status: which attempts to replay.
        spec: an environment to use instead of the recorded one, say its next version.
        config: limits; retries do not apply.
        on_episode: told about each episode as it is done, for progress bars.

    Example:
        with Journal.open("runs/first/journal.sqlite", create=False) as journal:
            report = await replay(journal)
        assert not report.differences
    """
    episodes = turns = 0
    found: list[Difference] = []
    recorded_episodes = journal.episodes(status)
    pairs = play_again(journal, recorded_episodes, spec=spec, config=config, make_env=make_env)
    async with aclosing(pairs):
        async for recorded, replayed in pairs:
            episodes += 1
            turns += min(len(recorded.turns), len(replayed.turns))
            differences = tuple(compare(recorded, replayed))
            found.extend(differences)
            on_episode(recorded, differences)
    return ReplayReport(episodes, turns, tuple(found))


def compare(recorded: Episode, replayed: Episode) -> Iterator[Difference]:
    """Every difference between two plays of the same actions, in the order of the turns."""

    def difference(turn: int, aspect: Aspect, before: object, after: object) -> Difference:
        return Difference(recorded.key, recorded.attempt, turn, aspect, str(before), str(after))

    before, after = _observations(recorded), _observations(replayed)
    if before and after and before[0] != after[0]:
        yield difference(-1, Aspect.OBSERVATION, _text(before[0]), _text(after[0]))
    for index, (mine, theirs) in enumerate(zip(recorded.turns, replayed.turns, strict=False)):
        if not _same_number(mine.reward, theirs.reward):
            yield difference(index, Aspect.REWARD, mine.reward, theirs.reward)
        if not _same_components(mine.reward, theirs.reward):
            yield difference(index, Aspect.COMPONENTS, _parts(mine.reward), _parts(theirs.reward))
        if mine.terminated is not theirs.terminated:
            yield difference(index, Aspect.TERMINATED, mine.terminated, theirs.terminated)
        if mine.truncated is not theirs.truncated:
            yield difference(index, Aspect.TRUNCATED, mine.truncated, theirs.truncated)
        if before[index + 1] != after[index + 1]:
            yield difference(index, Aspect.OBSERVATION, _text(before[index + 1]), _text(after[index + 1]))
    if (ours := _ending(recorded)) != (other := _ending(replayed)):
        yield difference(max(0, len(replayed.turns) - 1), Aspect.ENDING, ours, other)


def _observations(episode: Episode) -> list[Observation]:
    """What `reset` returned, then what each turn led to."""
    return [*(turn.observation for turn in episode.turns), episode.final_observation]


def _same_number(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)


def _same_components(left: Reward | None, right: Reward | None) -> bool:
    mine, theirs = _components(left), _components(right)
    return len(mine) == len(theirs) and all(
        one.name == other.name and _same_number(one.value, other.value) and _same_number(one.weight, other.weight)
        for one, other in zip(mine, theirs, strict=True)
    )


def _components(reward: Reward | None) -> tuple[Component, ...]:
    return () if reward is None else reward.components


def _parts(reward: Reward | None) -> str:
    return ", ".join(f"{part.name} {part.value:g} × {part.weight:g}" for part in _components(reward)) or "none"


def _text(observation: Observation) -> str:
    return codec.to_json(codec.observation_to_wire(observation))


def _ending(episode: Episode) -> str:
    failure = f": {episode.failure.message}" if episode.failure is not None else ""
    return f"{episode.status} ({episode.stop_reason}) after {len(episode.turns)} turns{failure}"
