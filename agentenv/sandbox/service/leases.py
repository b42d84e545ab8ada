"""All sandboxes of a service: which is meant, and when one that nobody uses is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator

from agentenv.errors import AgentenvError
from agentenv.sandbox.contract import PythonSession, Sandbox, SandboxBackend
from agentenv.sandbox.errors import SandboxFailed
from agentenv.sandbox.limits import Limits
from agentenv.sandbox.service.config import ServiceConfig
from agentenv.sandbox.service.refusals import Code, Refusal
from agentenv.sandbox.service.turnstile import Turnstile

_LOG = logging.getLogger("agentenv.sandbox")

_REMEMBERED = 4096
"""Ended sandboxes whose end can still be explained."""

_REASONS = {
    Code.LEASE_EXPIRED: "nobody used the sandbox for its lease of {lease:g} s and it was closed",
    Code.SANDBOX_CLOSED: "the sandbox was closed",
}


class LeasedSandbox:
    """A sandbox that somebody elsewhere uses, and the Python sessions in it.

    Attributes:
        id: unguessable. held: requests under way; while there are any, its lease goes on.
    """

    def __init__(self, sandbox: Sandbox, expires_at: float) -> None:
        self.id = secrets.token_urlsafe(12)
        self.sandbox = sandbox
        self.expires_at = expires_at
        self.held = 0
        self._sessions: dict[str, PythonSession] = {}

    def keep(self, session: PythonSession) -> str:
        """The name under which a session is found."""
        name = secrets.token_urlsafe(9)
        self._sessions[name] = session
        return name

    def session(self, name: str) -> PythonSession:
        """Raises `Refusal` where there is none of this name."""
        try:
            return self._sessions[name]
        except KeyError:
            raise Refusal(Code.UNKNOWN_SESSION, f"there is no session {name[:80]!r} in this sandbox") from None

    async def end_session(self, name: str) -> None:
        """Closes a session. Closing it again is harmless."""
        session = self._sessions.pop(name, None)
        if session is not None:
            await session.close()


class Leases:
    """The sandboxes of one service, each as long as somebody cares for it.

    Args:
        backend: makes them. config: the limits. turnstile: tells those who find no room what goes on.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self, backend: SandboxBackend, config: ServiceConfig, turnstile: Turnstile, now: Callable[[], float]
    ) -> None:
        self._backend = backend
        self._config = config
        self._turnstile = turnstile
        self._now = now
        self._open: dict[str, LeasedSandbox] = {}
        self._ended: OrderedDict[str, Code] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._making = 0

    @property
    def occupied(self) -> int:
        """Sandboxes that are open or being made."""
        return len(self._open) + self._making

    async def create(self, limits: Limits | None) -> LeasedSandbox:
        """A new sandbox. Raises `AtCapacity`, and what the backend raises."""
        return await self._add(lambda: self._backend.create(limits))

    async def fork(self, leased: LeasedSandbox) -> LeasedSandbox:
        """A new sandbox with the same limits and files. Raises what `create` raises."""
        return await self._add(leased.sandbox.fork)

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Room for a sandbox that the block makes and closes. Raises `AtCapacity`."""
        if self.occupied >= self._config.max_sandboxes:
            raise self._turnstile.full(
                f"{self.occupied} of at most {self._config.max_sandboxes} sandboxes are open: close some, or serve "
                "with a larger --max-sandboxes"
            )
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1

    async def make(self, make: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
        """A sandbox that nobody has a lease of. Raises `SandboxFailed` also where making it takes too long."""
        try:
            async with asyncio.timeout(self._config.operation_timeout):
                return await make()
        except TimeoutError:
            raise SandboxFailed(f"no sandbox could be made in {self._config.operation_timeout:g} s") from None

    @contextlib.contextmanager
    def using(self, id: str) -> Iterator[LeasedSandbox]:
        """An open sandbox, its lease renewed. Raises `Refusal` with the reason where there is none."""
        leased = self._find(id)
        leased.held += 1
        try:
            yield leased
        finally:
            leased.held -= 1
            leased.expires_at = self._lease_end()

    def heartbeat(self, ids: list[str]) -> list[str]:
        """Renews the leases of these sandboxes; those of them that are open."""
        alive = [id for id in ids if id in self._open]
        for id in alive:
            self._open[id].expires_at = self._lease_end()
        return alive

    async def close(self, id: str) -> None:
        """Ends a sandbox and whatever runs in it. Closing it again is harmless."""
        if id not in self._ended:
            await self._end(self._find(id), Code.SANDBOX_CLOSED)

    async def reap(self) -> int:
        """Ends every sandbox whose lease is over, side by side; how many."""
        now = self._now()
        due = [leased for leased in self._open.values() if leased.expires_at <= now and not leased.held]
        await asyncio.gather(*(self._end(leased, Code.LEASE_EXPIRED) for leased in due))
        return len(due)

    async def stop(self) -> None:
        """Ends everything."""
        await asyncio.gather(*(self._end(leased, Code.SANDBOX_CLOSED) for leased in list(self._open.values())))
        if self._closing:
            await asyncio.wait(self._closing)

    async def _add(self, make: Callable[[], Awaitable[Sandbox]]) -> LeasedSandbox:
        with self.room():
            leased = LeasedSandbox(await self.make(make), self._lease_end())
            self._open[leased.id] = leased
            return leased

    def _find(self, id: str) -> LeasedSandbox:
        leased = self._open.get(id)
        if leased is not None:
            return leased
        if id in self._ended:
            code = self._ended[id]
            raise Refusal(code, _REASONS[code].format(lease=self._config.lease))
        raise Refusal(Code.UNKNOWN_SANDBOX, f"there is no sandbox {id[:80]!r}; a service that was restarted has none")

    async def _end(self, leased: LeasedSandbox, reason: Code) -> None:
        if self._open.pop(leased.id, None) is None:
            return
        self._ended[leased.id] = reason
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        # A task of its own: a caller who goes away in the meantime does not stop what must come to its end.
        closing = asyncio.get_running_loop().create_task(self._close(leased))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _close(self, leased: LeasedSandbox) -> None:
        try:
            async with asyncio.timeout(self._config.operation_timeout):
                await leased.sandbox.close()
        except (AgentenvError, TimeoutError) as error:
            _LOG.warning("a sandbox could not be closed in order: %s", error or type(error).__name__)

    def _lease_end(self) -> float:
        return self._now() + self._config.lease
