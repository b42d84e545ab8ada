"""Sandboxes that another machine serves, as a backend."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os

from agentenv.errors import AgentenvError, ConfigError
from agentenv.sandbox import Limits, Promises, SandboxBackend, SandboxFailed
from agentenv.sandbox.service.wire import (
    CreateSandbox,
    Heartbeat,
    HeartbeatReply,
    LimitsChoice,
    PromisesReply,
    SandboxReply,
    ServiceView,
)
from agentenv_remote.connection import CONNECT_SECONDS, Connection
from agentenv_remote.sandbox import RemoteSandbox

URL_VARIABLE = "AGENTENV_SANDBOX_URL"
KEY_VARIABLE = "AGENTENV_SANDBOX_KEY"
"""The environment variables with the address and the API key of the sandbox service."""

_PROBE_SECONDS = 60.0
_MARGIN_SECONDS = 10.0
"""What an answer may take on top of what the service allows itself."""


class RemoteSandboxes(SandboxBackend):
    """Sandboxes of an `agentenv sandbox serve`, run there and used from here.

    When this process ends, however it does, the service closes them as soon as their lease is over. Where it has no
    room for a request, that is made again when the service advises.

    Args:
        url: of the service; `AGENTENV_SANDBOX_URL` unless given. api_key: what it wants; `AGENTENV_SANDBOX_KEY` unless
            given.
        limits: of sandboxes that are created without any of their own; the service's unless given.
        patience: seconds in which a request that there is no room for is made again.

    Example:
        async with RemoteSandboxes("http://127.0.0.1:8200") as sandboxes, sandboxes.sandbox() as sandbox:
            result = await sandbox.run_python("print(1)")
    """

    name = "remote"

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        limits: Limits | None = None,
        patience: float = 120.0,
    ) -> None:
        if patience < 0:
            raise ConfigError(f"patience is for how many seconds a refused request is made again, got {patience!r}")
        url = url or os.environ.get(URL_VARIABLE)
        if not url:
            raise ConfigError(f"remote sandboxes need the address of a service: url=, or {URL_VARIABLE}")
        self.limits = limits
        self._connection = Connection(url, api_key or os.environ.get(KEY_VARIABLE), patience)
        self._service: ServiceView | None = None
        self._sandboxes: dict[str, RemoteSandbox] = {}
        self._beating: asyncio.Task[None] | None = None

    @property
    def service(self) -> ServiceView:
        """What the service says of itself, once these are open."""
        if self._service is None:
            raise SandboxFailed(f"the sandboxes of {self._connection.url} are not open")
        return self._service

    async def probe(self) -> Promises:
        """What the service can promise on its host."""
        async with self._connection.opened() as connection:
            reply = await connection.ask(PromisesReply, "GET", "/promises", seconds=_PROBE_SECONDS)
        return reply.to_promises()

    async def open(self) -> None:
        """Finds the service.

        Raises:
            SandboxFailed: nobody answers there.
            ConfigError: whoever answers is no sandbox service, or wants an API key.
        """
        await self._connection.open()
        try:
            self._service = await self._connection.ask(ServiceView, "GET", "/", seconds=CONNECT_SECONDS)
        except BaseException:
            await self._connection.close()
            raise
        self._beating = asyncio.get_running_loop().create_task(self._beat(), name="agentenv-remote-leases")

    async def create(self, limits: Limits | None = None) -> RemoteSandbox:
        wanted = limits or self.limits
        choice = None if wanted is None else LimitsChoice(**dataclasses.asdict(wanted))
        asked = CreateSandbox(limits=choice)
        return self.adopt(await self._connection.ask(SandboxReply, "POST", "/sandboxes", asked, seconds=self.seconds()))

    async def close(self) -> None:
        beating, self._beating = self._beating, None
        if beating is not None:
            beating.cancel()
            await asyncio.wait([beating])
        try:
            async with asyncio.TaskGroup() as group:
                for sandbox in list(self._sandboxes.values()):
                    group.create_task(sandbox.close())
        finally:
            await self._connection.close()

    # What a sandbox calls.

    @property
    def connection(self) -> Connection:
        return self._connection

    def seconds(self, wall_seconds: float | None = None) -> float:
        """How long the answer to a request may take: an operation's, or that of an execution which waits its turn."""
        service = self.service
        allowed = service.operation_timeout if wall_seconds is None else service.queue_timeout + wall_seconds
        return allowed + _MARGIN_SECONDS

    def adopt(self, reply: SandboxReply) -> RemoteSandbox:
        """A sandbox that the service has made."""
        sandbox = self._sandboxes[reply.sandbox] = RemoteSandbox(self, reply)
        return sandbox

    def forget(self, key: str) -> None:
        """A sandbox was closed."""
        self._sandboxes.pop(key, None)

    async def _beat(self) -> None:
        """Renews the leases of all sandboxes, and tells those that are gone."""
        lease = self.service.lease
        while True:
            await asyncio.sleep(lease / 3)
            asked = list(self._sandboxes)
            if not asked:
                continue
            # A beat that nobody heard is followed by others; a lease that is over is told by the next one that is.
            with contextlib.suppress(AgentenvError):
                reply = await self._connection.ask(
                    HeartbeatReply, "POST", "/heartbeat", Heartbeat(sandboxes=asked), seconds=max(lease / 3, 1.0)
                )
                for key in set(asked) - set(reply.sandboxes):
                    if key in self._sandboxes:
                        self._sandboxes[key].lost("the service has closed it, or was restarted")
