"""The rollout engine: plays requests with a policy, retries what is worth it, writes the journal."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import ExitStack, aclosing
from typing import Self

from agentenv.env import Env
from agentenv.episode import Episode, EpisodeKey
from agentenv.errors import AgentenvError, ConfigError
from agentenv.outcome import Status
from agentenv.policy.contract import Policy
from agentenv.registry import EnvSpec
from agentenv.resources import Resources
from agentenv.rollout.budget import Budget
from agentenv.rollout.collector import rare_collections
from agentenv.rollout.config import RolloutConfig
from agentenv.rollout.episode import EpisodePlayer, Played
from agentenv.rollout.journal import DuplicateEpisodeError, Journal
from agentenv.rollout.limits import Limits
from agentenv.rollout.loading import EnvironmentLoader
from agentenv.rollout.pool import Pool, Slot
from agentenv.rollout.request import EpisodeRequest
from agentenv.rollout.stats import RolloutStats
from agentenv.threads import THREADS

_LOG = logging.getLogger("agentenv.rollout")


class RolloutEngine:
    """A standing pool of episodes in which nobody waits for anybody else.

    The policy and the journal stay their owner's: open them before and close them after the engine.

    Args:
        policy: answers the conversations; opened.
        config: limits and retries.
        journal: where every attempt is written before it is handed out; without one nothing is kept.
        make_env: builds an environment from its specification. It runs on the event loop and must be quick.

    Example:
        async with policy, RolloutEngine(policy, RolloutConfig(max_concurrent=64), journal) as engine:
            async for episode in engine.run(group_requests(spec, tasks, siblings=8, seed=7)):
                print(episode.key, episode.status, episode.reward)
    """

    def __init__(
        self,
        policy: Policy,
        config: RolloutConfig = RolloutConfig(),  # noqa: B008 - immutable
        journal: Journal | None = None,
        *,
        make_env: Callable[[EnvSpec], Env] = EnvSpec.make,
    ) -> None:
        self.stats = RolloutStats()
        self._config = config
        self._journal = journal
        self._limits = Limits(config.stall_threshold, config.cancel_grace)
        self._limits.abandoned = self.stats.abandoned
        self._limits.clock.on_stall = self.stats.add_stall
        self._loader = EnvironmentLoader(journal)
        prepare = self._loader.load if make_env is EnvSpec.make else None
        self._player = EpisodePlayer(policy, config, self._limits, make_env, prepare, self.stats.model_calls)
        self._jitter = random.Random()
        self._resources = Resources()
        self._open = ExitStack()
        self._in_flight: set[EpisodeKey] = set()
        self._pool: Pool[EpisodeRequest, Episode] | None = None

    async def __aenter__(self) -> Self:
        if self._pool is not None:
            raise AgentenvError("this engine is already open")
        await self._resources.__aenter__()
        self._open.enter_context(rare_collections())
        self._open.enter_context(self._limits.clock)
        self._pool = Pool(self._config.max_concurrent, self._job, self._admit)
        return self

    async def __aexit__(self, *error: object) -> None:
        pool, self._pool = self._pool, None
        try:
            if pool is not None:
                await pool.stop()
            await self._loader.close()
            await self._resources.__aexit__(*error)
        finally:
            self._open.close()
            if self.stats.abandoned:
                names = ", ".join(f"{name} ({count})" for name, count in Counter(self.stats.abandoned).most_common())
                _LOG.warning("calls that ignored their cancellation and were abandoned: %s", names)

    async def run(
        self, requests: Iterable[EpisodeRequest] | AsyncIterable[EpisodeRequest]
    ) -> AsyncGenerator[Episode, None]:
        """Plays the requests and yields their episodes in order of completion, failed ones included.

        At most `max_concurrent` are alive at a time, over all runs of this engine; one that ends is replaced at once.
        An episode is yielded once its record is durable. A request whose key has a finished episode in the journal
        gets that one instead of being played again. Of an episode that was retried only the last attempt is yielded.

        Stopping the iteration (or cancelling its task) cancels what is in flight: environments are closed, within
        their limits, and the attempts are journaled as `cancelled`.

        Raises:
            ConfigError: two requests in flight have the same key.
            JournalError: the journal cannot be written.
        """
        if self._pool is None:
            raise AgentenvError("open the engine first: async with RolloutEngine(...) as engine")
        async with aclosing(self._pool.run(requests)) as episodes:
            async for episode in episodes:
                yield episode

    async def collect(self, requests: Iterable[EpisodeRequest] | AsyncIterable[EpisodeRequest]) -> list[Episode]:
        """All episodes of a finite number of requests, in order of completion."""
        return [episode async for episode in self.run(requests)]

    async def _admit(self, request: EpisodeRequest) -> Episode | None:
        journal = self._journal_of(request)
        if journal is not None and journal.finished(request.key):
            self.stats.from_journal += 1
            return await _find(journal, request.key)
        return None

    def _journal_of(self, request: EpisodeRequest) -> Journal | None:
        return self._journal if request.journaled else None

    async def _job(self, request: EpisodeRequest, slot: Slot) -> Episode | None:
        if request.key in self._in_flight:
            raise ConfigError(f"two requests have the key {request.key}; number siblings and iterations apart")
        self._in_flight.add(request.key)
        try:
            with self._resources.active():
                return await self._play(request, slot)
        finally:
            self._in_flight.discard(request.key)

    async def _play(self, request: EpisodeRequest, slot: Slot) -> Episode:
        """Plays attempts until one is final, and returns it once it is durable."""
        config, journal = self._config, self._journal_of(request)
        budget = Budget(self._limits.clock, config.episode_timeout)
        attempt = 1 if journal is None else journal.attempts(request.key) + 1
        failed = 0
        self.stats.begin_episode()
        try:
            while True:
                played = await self._player.play(request, attempt, budget)
                failed += 1
                status = played.episode.status
                delay = config.retry.delay(failed, self._jitter)
                retry = (
                    status in config.retry.statuses
                    and failed <= config.retry.attempts
                    and delay < budget.left
                    and not _is_cancelled()
                )
                self._count(played, final=not retry)
                if not retry:
                    break
                await self._record(played, request)
                await asyncio.sleep(delay)
                attempt += 1
        finally:
            self.stats.end_episode()
            slot.release()
        return await self._record(played, request)

    def _count(self, played: Played, *, final: bool) -> None:
        status = played.episode.status
        self.stats.attempts[status] += 1
        self.stats.notes.extend(played.notes)
        if final:
            self.stats.finished[status] += 1
        else:
            self.stats.retried += 1

    async def _record(self, played: Played, request: EpisodeRequest) -> Episode:
        """Waits until the attempt is durable. What another process finished first takes its place."""
        episode, journal = played.episode, self._journal_of(request)
        if journal is not None:
            try:
                await journal.record(episode, spec=request.spec, notes=played.notes)
            except DuplicateEpisodeError:
                return await _find(journal, episode.key)
        if episode.status is Status.CANCELLED:
            raise asyncio.CancelledError
        return episode


async def _find(journal: Journal, key: EpisodeKey) -> Episode:
    """The finished episode of the journal, read in a thread: a long one takes a while to decode."""
    found: Episode = await THREADS.run(lambda: journal.find(key))
    return found


def _is_cancelled() -> bool:
    """Whether the running task was told to stop, even where that came too late for the episode it was playing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
