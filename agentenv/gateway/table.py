"""The sessions a gateway holds: open ones with a lease, ended ones to be read back for a while."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentenv.episode import Episode, EpisodeKey
from agentenv.gateway.config import GatewayConfig
from agentenv.gateway.episodes import Ending, ending_of, episode_of
from agentenv.gateway.failures import ApiError
from agentenv.gateway.packed import SharedBytes
from agentenv.gateway.sessions import Session, problem_with_id
from agentenv.gateway.statistics import GatewayStatistics
from agentenv.outcome import Status, StopReason
from agentenv.rollout import DuplicateEpisodeError, Journal, JournalError
from agentenv.tasks import Task

ENVIRONMENT = "gateway"
"""What an episode names as its environment where its session was not told of one."""
_LOG = logging.getLogger("agentenv.gateway")
_ABORT_SECONDS = 5.0


@dataclass(slots=True)
class Ended:
    """A session that has ended. `problem` says why it is not in the journal, where it should be."""

    session: Session
    ending: Ending
    seconds: float
    problem: str = ""


class SessionTable:
    """Sessions by id, from their opening over their lease to their episode in the journal."""

    def __init__(self, config: GatewayConfig, statistics: GatewayStatistics, journal: Journal | None) -> None:
        self._config = config
        self._statistics = statistics
        self._journal = journal
        self.open: dict[str, Session] = {}
        self.ended: dict[str, Ended] = {}
        """The latest, in the order in which they ended."""
        self._ending: set[str] = set()
        """Names of sessions that take no more calls but whose calls have not all ended."""
        self._kept_bytes = 0
        self._shared = SharedBytes()
        self._siblings: Counter[tuple[str, int, str, str]] = Counter()
        self._watch: asyncio.Task[None] | None = None
        self._policy = config.policy or f"gateway:{config.upstreams[0]}"

    def start(self) -> None:
        """Begins to watch the leases."""
        self._watch = asyncio.create_task(self._expire())

    async def close(self) -> None:
        """Ends every open session as cancelled."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        await asyncio.gather(*(self.end(session, Status.CANCELLED) for session in list(self.open.values())))

    def create(
        self,
        id: str | None = None,
        *,
        task: Task | None = None,
        key: EpisodeKey | None = None,
        seed: int = 0,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Opens a session. A key with a negative sibling takes the next free one.

        Raises:
            ApiError: 400 for an id that cannot be one, 409 for one that is taken.
        """
        id = uuid.uuid4().hex if id is None else id
        if problem := problem_with_id(id):
            raise ApiError(400, problem, param="id")
        if id in self.open or id in self.ended or id in self._ending:
            raise ApiError(409, f"there is a session {id} already", param="id", code="session_exists")
        task = task or Task(id)
        key = key or EpisodeKey(ENVIRONMENT, task.id, task.id, -1)
        session = self.open[id] = Session(id, task, key, seed, metadata or {}, self._shared)
        self._statistics.opened += 1
        return session

    def use(self, id: str) -> Session:
        """The open session of this id, or a new one; its lease begins anew.

        Raises:
            ApiError: 400 for an id that cannot be one, 410 for a session that has ended.
        """
        session = self.open.get(id)
        if session is None:
            if id in self.ended or id in self._ending:
                raise ApiError(410, f"session {id} has ended", code="session_ended")
            session = self.create(id)
        session.last_used = time.monotonic()
        return session

    def find(self, id: str) -> Session | Ended:
        """Raises `ApiError` 404 for an id nobody has used, or whose session ended too long ago."""
        found = self.open.get(id) or self.ended.get(id)
        if found is None and id in self._ending:
            raise ApiError(409, f"session {id} is being ended", code="session_ending")
        if found is None:
            raise ApiError(404, f"there is no session {id}", code="no_session")
        return found

    def find_open(self, id: str) -> Session:
        """Raises `ApiError` 404, or 410 for a session that has ended."""
        found = self.find(id)
        if isinstance(found, Ended):
            raise ApiError(410, f"session {id} has ended", code="session_ended")
        return found

    async def end(
        self, session: Session, status: Status = Status.OK, stop_reason: StopReason | None = None, problem: str = ""
    ) -> Ended:
        """Takes no more calls, aborts those under way, and writes the episode into the journal."""
        session.ended = True
        self.open.pop(session.id, None)
        if session.tasks:
            self._ending.add(session.id)
            for task in session.tasks:
                task.cancel()
            await asyncio.wait(set(session.tasks), timeout=_ABORT_SECONDS)
            self._ending.discard(session.id)
        ended = Ended(session, ending_of(session, status, stop_reason, problem), time.time() - session.created_at)
        self._statistics.ended[ended.ending.status.value] += 1
        self._keep(ended)
        if session.key.sibling < 0:
            session.key = self._next_key(session.key)
        if self._journal is not None:
            ended.problem = await self._record(self._journal, ended)
        return ended

    def forget(self, id: str) -> None:
        """Drops an ended session from memory."""
        ended = self.ended.pop(id)
        self._kept_bytes -= ended.session.size()

    def episode(self, found: Session | Ended) -> Episode:
        """The episode of a session, as it stands now where the session is still open."""
        if isinstance(found, Session):
            ending = Ending(Status.CANCELLED, StopReason.CANCELLED)
            found = Ended(found, ending, time.time() - found.created_at)
        return episode_of(found.session, found.ending, self._policy, found.seconds)

    def _keep(self, ended: Ended) -> None:
        self.ended[ended.session.id] = ended
        self._kept_bytes += ended.session.size()
        while self._kept_bytes > self._config.kept_bytes and len(self.ended) > 1:
            self.forget(next(iter(self.ended)))

    async def _record(self, journal: Journal, ended: Ended) -> str:
        """Writes the episode; returns what went wrong, if anything."""
        numbered = ended.session.numbered
        while True:
            episode = episode_of(ended.session, ended.ending, self._policy, ended.seconds)
            try:
                await journal.record(episode)
            except DuplicateEpisodeError as error:
                if not numbered:
                    return str(error)
                ended.session.key = self._next_key(ended.session.key)
            except JournalError as error:
                _LOG.error("session %s is not in the journal: %s", ended.session.id, error)
                return str(error)
            else:
                return ""

    def _next_key(self, key: EpisodeKey) -> EpisodeKey:
        """The key with the next sibling nobody has taken since the start."""
        counted = (key.environment, key.iteration, key.group, key.task_id)
        sibling = self._siblings[counted]
        self._siblings[counted] += 1
        return replace(key, sibling=sibling)

    async def _expire(self) -> None:
        """Ends sessions nobody has used for the length of a lease, so that a dead agent leaves nothing behind."""
        lease = self._config.lease_seconds
        while True:
            await asyncio.sleep(min(lease / 4, 5.0))
            now = time.monotonic()
            for session in [known for known in self.open.values() if not known.tasks and now - known.last_used > lease]:
                await self.end(session, Status.TIMEOUT, problem=f"the session was not used for {lease:g} s")
