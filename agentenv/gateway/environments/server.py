"""An environment server from start to stop: `async with EnvironmentServer(spec) as server: print(server.url)`."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web

import agentenv
from agentenv.addresses import url_of
from agentenv.errors import AgentenvError, ConfigError
from agentenv.gateway.environments.calls import EnvironmentCalls
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.operations import Operations
from agentenv.gateway.environments.rollouts import Rollouts
from agentenv.gateway.environments.routes import routes
from agentenv.gateway.environments.sessions import Sessions
from agentenv.gateway.environments.tasks import TaskSource
from agentenv.messages import Wire
from agentenv.registry import EnvSpec
from agentenv.rollout.collector import rare_collections
from agentenv.rollout.limits import Limits
from agentenv.threads import THREADS

_LOG = logging.getLogger("agentenv.gateway")


class EnvironmentServer:
    """Serves one environment over HTTP and WebSocket, to any number of sessions.

    Args:
        spec: which environment.
        config: where to listen and what to allow.

    Raises:
        RegistryError, MissingExtraError: on entry, when the environment cannot be made.
        ConfigError: on entry, when the address is taken.

    Example:
        async with EnvironmentServer(agentenv.spec("calculator-v0")) as server:
            env = RemoteEnv(server.url)
    """

    def __init__(self, spec: EnvSpec, config: ServerConfig = ServerConfig()) -> None:  # noqa: B008 - immutable
        self.spec = spec
        self.config = config
        self._stack = AsyncExitStack()
        self._port = config.port
        self._sessions: Sessions | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return url_of(self.config.host, self._port)

    @property
    def sessions(self) -> Sessions:
        """Everything that is open."""
        if self._sessions is None:
            raise AgentenvError("open the server first: async with EnvironmentServer(...) as server")
        return self._sessions

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(rare_collections())
            limits = Limits(self.config.stall_threshold, self.config.cancel_grace)
            stack.enter_context(limits.clock)
            calls = EnvironmentCalls(self.spec, self.config, limits)
            stack.push_async_callback(calls.stop)
            await calls.load()
            listed = self.spec.make()
            self._fingerprint = await THREADS.run(self.spec.fingerprint)
            stack.push_async_callback(calls.close, listed)
            tasks = TaskSource(listed, answers=self.config.answers)
            sessions = self._sessions = Sessions(calls, tasks, self.config, limits.clock.now)
            stack.push_async_callback(sessions.stop)
            rollouts = Rollouts(self.spec, tasks, sessions, self.config)
            await self._listen(stack, Operations(sessions, tasks, self._describe), rollouts)
            reaper = asyncio.get_running_loop().create_task(self._reap(), name="agentenv-leases")
            stack.push_async_callback(_stop, reaper)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops listening and closes every environment."""
        await self._stack.aclose()

    async def _listen(self, stack: AsyncExitStack, operations: Operations, rollouts: Rollouts) -> None:
        app = web.Application(client_max_size=self.config.max_body)
        routes(app, operations, rollouts, self.config)
        # Cancelled when the caller goes away: a rollout then ends, and a session that waited for its reply is no
        # longer kept alive by that.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self.config.host, self.config.port)
        try:
            await site.start()
        except OSError as error:
            address = f"{self.config.host}:{self.config.port}"
            raise ConfigError(f"cannot listen on {address}: {error.strerror}; choose another --port") from error
        self._port = runner.addresses[0][1]

    async def _reap(self) -> None:
        period = min(self.config.lease / 8, 1.0)
        while True:
            await asyncio.sleep(period)
            if ended := await self.sessions.reap():
                _LOG.warning("%d sessions closed: nobody used them for %g s", ended, self.config.lease)

    def _describe(self) -> Wire:
        return {
            "agentenv": agentenv.__version__,
            "environment": json.loads(self.spec.model_dump_json()),
            "fingerprint": self._fingerprint,
            "seedable": self.spec.deterministic,
            "answers": self.config.answers,
            "lease": self.config.lease,
            "environment_timeout": self.config.environment_timeout,
            "max_body": self.config.max_body,
            "max_sessions": self.config.max_sessions,
            "sessions": self.sessions.occupied,
        }


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
