"""Rescoring: new rewards for recorded actions, without a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass

from agentenv.env import Env
from agentenv.episode import Episode, EpisodeKey
from agentenv.outcome import Status
from agentenv.registry import EnvSpec
from agentenv.rollout.config import RolloutConfig
from agentenv.rollout.journal import DuplicateEpisodeError, Journal
from agentenv.rollout.recorded import Pair, play_again
from agentenv.rollout.replaying import Aspect, compare
from agentenv.threads import THREADS

RESCORABLE = frozenset({Status.OK, Status.TRUNCATED, Status.VERIFIER_ERROR})
"""Attempts whose actions are all there: those that were scored, and those whose verifier failed."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """One episode's return before and after; `None` where it is not scored.

    `diverged`: the environment answered otherwise than when the actions were chosen, so the policy might have acted
    otherwise, too; the new reward is of a conversation that never took place.
    """

    key: EpisodeKey
    recorded: float | None
    rescored: float | None
    diverged: bool
    problem: str = ""

    @property
    def changed(self) -> bool:
        return self.recorded != self.rescored


@dataclass(frozen=True, slots=True)
class RescoreReport:
    """The outcome of rescoring, episode by episode."""

    episodes: tuple[Rescored, ...]

    @property
    def changed(self) -> tuple[Rescored, ...]:
        return tuple(episode for episode in self.episodes if episode.changed)

    @property
    def diverged(self) -> tuple[Rescored, ...]:
        return tuple(episode for episode in self.episodes if episode.diverged)

    @property
    def means(self) -> tuple[float, float] | None:
        """(recorded, rescored) mean return over the episodes scored both times; `None` when there is none."""
        both = [
            (episode.recorded, episode.rescored)
            for episode in self.episodes
            if episode.recorded is not None and episode.rescored is not None
        ]
        if not both:
            return None
        return math.fsum(pair[0] for pair in both) / len(both), math.fsum(pair[1] for pair in both) / len(both)


async def rescore(
    journal: Journal,
    into: Journal | None = None,
    *,
    status: Status | Collection[Status] = RESCORABLE,
    spec: EnvSpec | None = None,
    config: RolloutConfig = RolloutConfig(),  # noqa: B008 - immutable
    make_env: Callable[[EnvSpec], Env] = EnvSpec.make,
    on_episode: Callable[[Rescored], None] = lambda rescored: None,
) -> RescoreReport:
    """Runs the environments once more on the recorded actions and takes the rewards they give now.

    Args:
        journal: the record; it is not changed.
        into: another journal for the rescored episodes: the recorded actions, tokens and model times with the new
            rewards, observations and endings. Rescoring into it again goes on where it was interrupted.
        status: which attempts to rescore. Failed ones are left out where a later attempt was scored.
        spec: the environment to score with instead of the recorded one.
        config: limits; retries do not apply.
        on_episode: told about each episode as it is done, for progress bars.
    """

    async def known(recorded: Episode) -> Pair | None:
        if into is not None and into.finished(recorded.key):
            return recorded, await THREADS.run(lambda: into.find(recorded.key))
        return None

    wanted = (found for found in journal.episodes(status) if found.status.scored or not journal.finished(found.key))
    results: list[Rescored] = []
    pairs = play_again(journal, wanted, spec=spec, config=config, make_env=make_env, known=known)
    async with aclosing(pairs):
        async for recorded, played in pairs:
            if into is not None and not into.finished(recorded.key):
                await _write(into, _with_model_times(recorded, played), spec or journal.spec(recorded.id))
            diverged = any(
                found.aspect is Aspect.OBSERVATION or len(recorded.turns) != len(played.turns)
                for found in compare(recorded, played)
            )
            problem = played.failure.message if played.failure is not None else ""
            results.append(Rescored(recorded.key, recorded.reward, played.reward, diverged, problem))
            on_episode(results[-1])
    return RescoreReport(tuple(results))


def _with_model_times(recorded: Episode, played: Episode) -> Episode:
    """What the model did is as it was, including how long it took."""
    turns = tuple(
        dataclasses.replace(new, model_seconds=old.model_seconds)
        for old, new in zip(recorded.turns, played.turns, strict=False)
    )
    return dataclasses.replace(played, turns=turns)


async def _write(into: Journal, episode: Episode, spec: EnvSpec | None) -> None:
    try:
        await into.record(episode, spec=spec, notes=("rescored",))
    except DuplicateEpisodeError:  # two failed attempts of one key can both be scored now; the first one counts
        return
