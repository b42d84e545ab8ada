"""Where an episode's connections come from: started beforehand where many are played, shared where they may be."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from agentenv.errors import AgentenvError, ConfigError
from agentenv.mcp.client.config import CommandServer, ObjectServer, Server, UrlServer
from agentenv.mcp.client.connection import Connection
from agentenv.mcp.client.transport import Program, over_http
from agentenv.resources import Resources, current
from agentenv.sandbox import SandboxBackend
from agentenv.sandbox.registry import make_backend


async def connect(server: Server, backend: SandboxBackend | None = None) -> Connection:
    """An open connection to a server.

    Args:
        backend: makes the sandbox of a server that is a program.

    Raises:
        ServerLost: it cannot be reached. SandboxError: there is no sandbox for it. ConfigError: a file that it needs is
            not there.
    """
    if isinstance(server, CommandServer):
        if backend is None:
            raise ConfigError(f"the MCP server {server.name} needs a sandbox")
        made = await _in_sandbox(server, backend)
    else:
        target = server.server if isinstance(server, ObjectServer) else over_http(server)
        made = Connection(server, target)
    await made.open()
    return made


async def _in_sandbox(server: CommandServer, backend: SandboxBackend) -> Connection:
    sandbox = await backend.create(server.limits)
    try:
        for name, path in server.files.items():
            try:
                await sandbox.upload(Path(path), name)
            except OSError as error:
                raise ConfigError(f"the MCP server {server.name} needs the file {path}: {error.strerror}") from error
        program = Program(sandbox, server.command, server.variables)
    except BaseException:
        await sandbox.close()
        raise
    return Connection(server, program.streams(), why_lost=lambda: program.ended, free=sandbox.close)


class Pool:
    """Connections to one server. An asynchronous context manager.

    A program has one process an episode, and as many as its `warm` says wait started. A server that may be shared has
    one connection for all, made again when it was lost.

    Args:
        warm: how many wait; what the server says unless given.
    """

    def __init__(self, server: Server, *, warm: int | None = None) -> None:
        self.server = server
        wanted = server.warm if isinstance(server, CommandServer) else 0
        self._warm = wanted if warm is None else warm
        self._ready: deque[Connection] = deque()
        self._wanted = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._backend: SandboxBackend | None = None
        self._shared: Connection | None = None
        self._sharing = asyncio.Lock()
        self._lent: set[Connection] = set()

    @property
    def shared(self) -> bool:
        """Whether all episodes use one connection."""
        return isinstance(self.server, UrlServer | ObjectServer) and self.server.shared

    @property
    def waiting(self) -> int:
        """How many connections are ready for the next episodes."""
        return len(self._ready)

    async def __aenter__(self) -> Self:
        if isinstance(self.server, CommandServer):
            self._backend = make_backend(self.server.sandbox, **self.server.sandbox_options)
            await self._backend.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.cancel()
            await asyncio.wait([filling])
        shared, self._shared = self._shared, None
        async with asyncio.TaskGroup() as group:
            for connection in [*self._ready, *self._lent, *([shared] if shared else [])]:
                group.create_task(connection.close())
        self._ready.clear()
        if self._backend is not None:
            await self._backend.close()

    async def take(self) -> Connection:
        """A connection for an episode. Give it back at its end. Raises what `connect` raises."""
        if self.shared:
            return await self._take_shared()
        self._refill()
        while self._ready:
            connection = self._ready.popleft()
            if connection.usable:
                break
            await connection.close()
        else:
            connection = await connect(self.server, self._backend)
        self._lent.add(connection)
        return connection

    async def _take_shared(self) -> Connection:
        async with self._sharing:
            if self._shared is None or not self._shared.usable:
                lost, self._shared = self._shared, None
                if lost is not None:
                    await lost.close()
                self._shared = await connect(self.server)
            return self._shared

    async def give_back(self, connection: Connection) -> None:
        """Closes a connection that was one episode's own."""
        if not self.shared:
            self._lent.discard(connection)
            await connection.close()

    def _refill(self) -> None:
        if self._warm and self._filling is None:
            self._filling = asyncio.create_task(self._fill(), name=f"agentenv-mcp-warm-{self.server.name}")
        self._wanted.set()

    async def _fill(self) -> None:
        """Keeps as many ready as are wanted. Who asks for one himself is told what goes wrong."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(AgentenvError):
                while len(self._ready) < self._warm:
                    self._ready.append(await connect(self.server, self._backend))


@contextlib.asynccontextmanager
async def pool_of(server: Server) -> AsyncIterator[Pool]:
    """The pool that all who are played together share; one's own, with nothing waiting, where there is nobody else."""
    resources: Resources | None = current()
    if resources is not None:
        yield await resources.get(("mcp", _key(server)), lambda: Pool(server))
        return
    async with Pool(server, warm=0) as own:
        yield own


def _key(server: Server) -> object:
    return id(server.server) if isinstance(server, ObjectServer) else server.model_dump_json()
