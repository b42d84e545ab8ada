"""All sessions of a server: who may open one, which is meant, and when one that nobody uses is closed."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentenv.errors import BoundaryError
from agentenv.gateway.environments.calls import EnvironmentCalls, Opened
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.jsontext import encode
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.session import EnvironmentSession, Reply, error_reply
from agentenv.gateway.environments.tasks import TaskSource
from agentenv.gateway.environments.wire import CreateSession, TaskReference
from agentenv.messages import Wire
from agentenv.outcome import classify

_REMEMBERED = 4096
"""Ended sessions whose end can still be explained."""

_REASONS = {
    Code.LEASE_EXPIRED: "nobody used the session for its lease of {lease:g} s and it was closed",
    Code.SESSION_CLOSED: "the session was closed",
}


@dataclass(frozen=True, slots=True)
class _Creation:
    """A request for a session, and the task that answers it."""

    request: CreateSession
    task: asyncio.Task[Reply]


class Sessions:
    """The sessions of one server process.

    Args:
        calls: how environments are called.
        tasks: which tasks there are.
        config: the limits.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self, calls: EnvironmentCalls, tasks: TaskSource, config: ServerConfig, now: Callable[[], float]
    ) -> None:
        self.epoch = secrets.token_hex(8)
        """Of this process. Requests name the epoch they believe in, so that none of them meets a stranger."""
        self._calls = calls
        self._tasks = tasks
        self._config = config
        self._now = now
        self._sessions: dict[str, EnvironmentSession] = {}
        self._ended: OrderedDict[str, Code] = OrderedDict()
        self._creations: dict[str, _Creation] = {}
        self._opening: set[asyncio.Task[Reply]] = set()
        self._created_by: dict[str, str] = {}
        self._reserved = 0

    @property
    def occupied(self) -> int:
        """Sessions that are open or being opened, and episodes that are reserved for rollouts."""
        return len(self._sessions) + len(self._opening) + self._reserved

    def __iter__(self) -> Iterator[EnvironmentSession]:
        return iter(self._sessions.values())

    def check_epoch(self, epoch: object) -> None:
        """Raises `Refusal` for a request that was meant for another process than this."""
        if epoch != self.epoch:
            problem = f"the request is for epoch {epoch!r} and this server's is {self.epoch!r}"
            raise Refusal(Code.STALE_EPOCH, f"{problem}: it was restarted, and its earlier sessions are gone")

    def find(self, id: object) -> EnvironmentSession:
        """An open session, its lease renewed. Raises `Refusal` with the reason when there is none."""
        session = self._sessions.get(id) if isinstance(id, str) else None
        if session is None:
            if isinstance(id, str) and id in self._ended:
                code = self._ended[id]
                raise Refusal(code, _REASONS[code].format(lease=self._config.lease))
            raise Refusal(Code.UNKNOWN_SESSION, f"there is no session {str(id)[:80]!r}")
        session.expires_at = self.lease_end()
        return session

    def lease_end(self) -> float:
        """When a lease that is renewed now will be over."""
        return self._now() + self._config.lease

    async def create(self, request: CreateSession) -> Reply:
        """Opens a session. The same request id again waits for, or repeats, the same reply."""
        asked = request.request_id
        known = self._creations.get(asked) if asked is not None else None
        if known is not None:
            if known.request != request:
                raise Refusal(Code.MALFORMED, f"the request id {asked!r} was used for another request")
            return await asyncio.shield(known.task)
        if request.seed is not None and not self._calls.spec.deterministic:
            problem = f"{self._calls.spec.id} does not promise the same episode for the same seed: leave the seed out"
            raise Refusal(Code.SEED_REFUSED, problem)
        self._check_room(1)
        # A task of its own, so that a caller who goes away while an environment opens can come back for the session.
        task = asyncio.get_running_loop().create_task(self._open(request))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        if asked is not None:
            self._creations[asked] = _Creation(request, task)
        return await asyncio.shield(task)

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Room for `count` episodes that are played without sessions. Raises `Refusal` when there is not as much."""
        self._check_room(count)
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count

    def heartbeat(self, ids: Any) -> list[str]:
        """Renews the leases of these sessions; those of them that are open."""
        if not isinstance(ids, list):
            raise Refusal(Code.MALFORMED, "a heartbeat needs sessions: a list of their ids")
        alive = []
        for id in ids:
            try:
                self.find(id)
            except Refusal:
                continue
            alive.append(id)
        return alive

    async def close(self, id: object) -> None:
        """Ends a session, in the middle of a step if need be. Closing it again is harmless."""
        if isinstance(id, str) and id in self._ended:
            return
        await self._end(self.find(id), Code.SESSION_CLOSED)

    async def reap(self) -> int:
        """Ends every session whose lease is over, side by side; how many."""
        now = self._now()
        due = [session for session in self if session.expires_at <= now and not session.held]
        await asyncio.gather(*(self._end(session, Code.LEASE_EXPIRED) for session in due))
        return len(due)

    async def stop(self) -> None:
        """Ends everything: sessions that are open, and those that are being opened."""
        for opening in self._opening:
            opening.cancel()
        if self._opening:
            await asyncio.wait(list(self._opening))
        await asyncio.gather(*(self._end(session, Code.SESSION_CLOSED) for session in list(self)))

    def _check_room(self, count: int) -> None:
        if self.occupied + count > self._config.max_sessions:
            raise Refusal(
                Code.AT_CAPACITY,
                f"{self.occupied} of at most {self._config.max_sessions} sessions are open and {count} more "
                f"{'was' if count == 1 else 'were'} asked for: close some, or serve with a larger --max-sessions",
            )

    async def _open(self, request: CreateSession) -> Reply:
        asked = request.request_id
        id = secrets.token_urlsafe(12)
        opened: Opened | None = None
        try:
            draw = request.seed if request.seed is not None else secrets.randbits(31)
            task, reference = await self._tasks.choose(request.task, draw)
            opened = await self._calls.open(task, request.seed)
            reply = Reply(encode(self._opening_reply(asked, id, opened, reference)))
        except (Refusal, BoundaryError) as error:
            if opened is not None:
                await self._calls.close(opened.env)
            if asked is not None:
                del self._creations[asked]
            refusal = error if isinstance(error, Refusal) else Refusal.of(classify(error, self._calls.spec.id))
            return error_reply(refusal, asked, self.epoch)
        except BaseException:
            if opened is not None:
                await self._calls.close(opened.env)
            raise
        self._sessions[id] = EnvironmentSession(id, self.epoch, self._calls, opened, self.lease_end())
        if asked is not None:
            self._created_by[id] = asked
        return reply

    def _opening_reply(self, asked: str | None, id: str, opened: Opened, reference: TaskReference | None) -> Wire:
        visible = opened.visible
        return {
            "request_id": asked,
            "epoch": self.epoch,
            "session": id,
            "turn": 0,
            "task": self._tasks.to_wire(opened.task, reference),
            "seed": opened.seed if self._calls.spec.deterministic else None,
            "messages": [message.to_wire() for message in opened.observation.messages],
            "tools": [tool.to_wire() for tool in opened.observation.tools],
            "info": opened.info,
            "state_key": visible.state_key,
            "oracle": None if visible.oracle is None else visible.oracle.to_wire(),
            "lease": self._config.lease,
        }

    async def _end(self, session: EnvironmentSession, reason: Code) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        self._ended[session.id] = reason
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        asked = self._created_by.pop(session.id, None)
        if asked is not None:
            self._creations.pop(asked, None)
        await session.close(reason)


def described(asked: object, epoch: str, body: Mapping[str, Any]) -> Reply:
    """A reply with the request id and epoch that every reply has."""
    return Reply(encode({"request_id": asked if isinstance(asked, str) else None, "epoch": epoch, **body}))
