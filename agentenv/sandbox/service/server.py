"""A sandbox service from start to stop: `async with SandboxService(backend) as service: print(service.url)`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

from agentenv.addresses import url_of
from agentenv.errors import AgentenvError, ConfigError
from agentenv.sandbox.contract import SandboxBackend
from agentenv.sandbox.service.config import ServiceConfig
from agentenv.sandbox.service.routes import Routes
from agentenv.sandbox.service.state import ServiceState

_LOG = logging.getLogger("agentenv.sandbox")


class SandboxService:
    """Serves the sandboxes of one backend over HTTP.

    Args:
        backend: makes the sandboxes; opened and closed with the service.
        config: where to listen and what to allow.
        now: seconds on a monotonic clock, by which leases end; the event loop's unless given.

    Raises:
        ConfigError: on entry, when the address is taken or the host cannot keep the backend's promises.
        SandboxFailed: on entry, when no sandbox can be made.

    Example:
        async with SandboxService(LocalSandboxes()) as service:
            sandboxes = RemoteSandboxes(service.url)
    """

    def __init__(
        self,
        backend: SandboxBackend,
        config: ServiceConfig = ServiceConfig(),  # noqa: B008 - immutable
        now: Callable[[], float] | None = None,
    ) -> None:
        self.backend = backend
        self.config = config
        self._now = now
        self._port = config.port
        self._stack = AsyncExitStack()
        self._state: ServiceState | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return url_of(self.config.host, self._port)

    @property
    def state(self) -> ServiceState:
        """Everything that is open."""
        if self._state is None:
            raise AgentenvError("open the service first: async with SandboxService(...) as service")
        return self._state

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.backend)
            async with self.backend.sandbox() as first:  # a service that can make none does not start
                limits, isolation = first.limits, first.isolation
            self._state = ServiceState(self.backend, self.config, limits, isolation, self._now or loop.time)
            stack.push_async_callback(self._state.leases.stop)
            await self._listen(stack, self._state)
            reaper = loop.create_task(self._reap(self._state), name="agentenv-sandbox-leases")
            stack.push_async_callback(_stop, reaper)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops listening and closes every sandbox."""
        await self._stack.aclose()

    async def _listen(self, stack: AsyncExitStack, state: ServiceState) -> None:
        app = web.Application(client_max_size=self.config.max_body)
        Routes(state).add_to(app)
        # Cancelled when the caller goes away: what it wanted to run is then ended, or never begun.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self.config.host, self.config.port).start()
        except OSError as error:
            address = f"{self.config.host}:{self.config.port}"
            raise ConfigError(f"cannot listen on {address}: {error.strerror}; choose another --port") from error
        self._port = runner.addresses[0][1]

    async def _reap(self, state: ServiceState) -> None:
        period = min(self.config.lease / 8, 1.0)
        while True:
            await asyncio.sleep(period)
            if ended := await state.reap():
                _LOG.warning("%d sandboxes closed: nobody used them for %g s", ended, self.config.lease)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
