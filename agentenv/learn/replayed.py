"""What a run's journal says of groups: how those of a logged update ended, and where others were cut off."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agentenv.episode import Episode, EpisodeKey
from agentenv.learn.groups import Batch, Group, GroupRequests
from agentenv.learn.updates import LoggedUpdate
from agentenv.outcome import Status
from agentenv.rollout import EpisodeRequest, Journal, RolloutEngine
from agentenv.threads import THREADS

_ENDED = frozenset(Status) - {Status.CANCELLED}
_SCORED = frozenset(status for status in Status if status.scored)


async def replayed(update: LoggedUpdate, requests: GroupRequests, journal: Journal, engine: RolloutEngine) -> Batch:
    """The batch of a logged update, its failed episodes as they failed. What the journal has lost is played again."""
    wanted = {number: requests.of(number) for number in (*update.groups, *update.dropped)}
    iterations = {request.key.iteration for members in wanted.values() for request in members}
    found: dict[EpisodeKey, Episode] = await THREADS.run(lambda: _last_attempts(journal, _ENDED, iterations))
    missing = [request for members in wanted.values() for request in members if request.key not in found]
    found |= {episode.key: episode for episode in await engine.collect(missing)}

    def groups(numbers: Iterable[int]) -> tuple[Group, ...]:
        return tuple(Group(number, tuple(found[request.key] for request in wanted[number])) for number in numbers)

    return Batch(groups(update.groups), groups(update.dropped))


async def scored_in(numbers: Iterable[int], requests: GroupRequests, journal: Journal) -> list[Episode]:
    """The scored episodes of these groups, in the order of their numbers and siblings."""
    keys = [request.key for number in numbers for request in requests.of(number)]
    iterations = {key.iteration for key in keys}
    found: dict[EpisodeKey, Episode] = await THREADS.run(lambda: _last_attempts(journal, _SCORED, iterations))
    return [found[key] for key in keys if key in found]


async def cut_off(requests: Iterable[EpisodeRequest], journal: Journal) -> list[Episode]:
    """The cancelled attempts at these episodes; those that had not begun left none."""
    keys = {request.key for request in requests}
    iterations = {key.iteration for key in keys}
    found: dict[EpisodeKey, Episode] = await THREADS.run(
        lambda: _last_attempts(journal, {Status.CANCELLED}, iterations)
    )
    return [episode for key, episode in found.items() if key in keys]


def _last_attempts(
    journal: Journal, statuses: Collection[Status], iterations: Iterable[int]
) -> dict[EpisodeKey, Episode]:
    """How each episode ended for good: the attempts before the last one were retried."""
    return {
        episode.key: episode for iteration in iterations for episode in journal.episodes(statuses, iteration=iteration)
    }
