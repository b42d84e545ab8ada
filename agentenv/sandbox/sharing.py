"""One backend for all the episodes that are played together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from agentenv.resources import current
from agentenv.sandbox.contract import Sandbox, SandboxBackend
from agentenv.sandbox.limits import Isolation, Limits
from agentenv.sandbox.registry import make_backend


class BorrowedBackend:
    """A backend by its name, shared where there is somebody to share it with, and opened when first needed.

    An environment keeps one for its lifetime and closes it in its own `close`: sandboxes that are still open are closed
    with it, and the backend too where it is the environment's own.

    Args:
        name: as in `agentenv list sandboxes`. options: what `make_backend` passes on; they are part of what is shared.

    Attributes:
        isolation: how well the last sandbox that it gave is walled off, for the record; `None` before there was one.

    Example:
        class Coding(ChatEnv):
            def __init__(self):
                super().__init__()
                self.sandboxes = BorrowedBackend("local")

            async def setup(self):
                self.sandbox = await self.sandboxes.create()

            async def close(self):
                await self.sandboxes.close()
    """

    def __init__(self, name: str, **options: Any) -> None:
        self._name, self._options = name, options
        self._held = AsyncExitStack()
        self._backend: SandboxBackend | None = None
        self.isolation: Isolation | None = None

    async def backend(self) -> SandboxBackend:
        """The backend, open; another one where the last has died.

        Raises:
            AgentenvError: what opening it raises: no such backend, a host that cannot keep a promise.
        """
        if self._backend is None or not self._backend.alive:
            resources = current()
            if resources is None:
                self._backend = await self._held.enter_async_context(self._make())
            else:
                key = ("sandboxes", self._name, repr(sorted(self._options.items())))
                self._backend = await resources.get(key, self._make, usable=lambda backend: backend.alive)
        return self._backend

    def _make(self) -> SandboxBackend:
        return make_backend(self._name, **self._options)

    async def create(self, limits: Limits | None = None) -> Sandbox:
        """A new sandbox, closed with this if not before."""
        backend = await self.backend()
        made = await self._held.enter_async_context(await backend.create(limits))
        self.isolation = made.isolation
        return made

    @contextlib.asynccontextmanager
    async def sandbox(self, limits: Limits | None = None) -> AsyncIterator[Sandbox]:
        """A new sandbox, closed at the end of the block."""
        backend = await self.backend()
        async with backend.sandbox(limits) as made:
            self.isolation = made.isolation
            yield made

    async def close(self) -> None:
        """Closes what was created. Twice is fine; afterwards it can be used again."""
        held, self._held, self._backend = self._held, AsyncExitStack(), None
        await held.aclose()
