"""How one speaks to a server: over HTTP, or over the standard streams of a program in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import mcp_types
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import SessionMessage

from agentenv.errors import AgentenvError, SandboxError
from agentenv.mcp.client.config import UrlServer
from agentenv.sandbox import ExecResult, Sandbox, SandboxFailed, Stream

LONGEST_MESSAGE = 64 * 2**20
"""Bytes of one message of a server; one that says more at once is given up."""
_KEPT = 2000
"""Bytes of what a server says on its standard error that are kept, to say why it ended."""
_WRITE_SECONDS = 30.0


@contextlib.asynccontextmanager
async def over_http(server: UrlServer) -> AsyncIterator[TransportStreams]:
    """The streams of a server at a URL."""
    async with (
        create_mcp_http_client(headers=server.request_headers) as http,
        streamable_http_client(server.url, http_client=http) as streams,
    ):
        yield streams


class Program:
    """A server that is a program in a sandbox.

    Its standard input is a named pipe in the sandbox's working folder, written to by an execution for each message, and
    its standard output is what its own execution tells as it comes: so any backend will do, and every limit holds.

    Attributes:
        ended: why it is no more, for people; `""` while it runs.
    """

    def __init__(self, sandbox: Sandbox, command: Sequence[str], env: dict[str, str]) -> None:
        self._sandbox, self._command, self._env = sandbox, list(command), env
        self._pipe = f".mcp-{secrets.token_hex(4)}"
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._partial = bytearray()
        self._said = bytearray()
        self.ended = ""

    @contextlib.asynccontextmanager
    async def streams(self) -> AsyncIterator[TransportStreams]:
        """The streams of its messages, until the end of the block; it is ended with them.

        Raises:
            SandboxError: the sandbox has no place for its pipe.
        """
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)
        made = await self._sandbox.exec(["mkfifo", self._pipe])
        if not made.ok:
            raise SandboxError(f"a sandbox makes no pipe for its MCP server: {made.stderr.text.strip()}")
        async with asyncio.TaskGroup() as group, to_client, from_server, to_server, from_client:
            tasks = [group.create_task(self._run()), group.create_task(self._write(from_client))]
            tasks.append(group.create_task(self._read(to_client)))
            try:
                yield from_server, to_server
            finally:
                for task in tasks:
                    task.cancel()

    async def _run(self) -> None:
        try:
            result = await self._sandbox.exec(
                ["sh", "-c", 'exec 3<>"$0"; exec "$@" <&3', self._pipe, *self._command],
                env=self._env,
                on_output=self._heard,
            )
            self.ended = self.ended or self._why(result)
        except SandboxFailed as error:
            self.ended = self.ended or str(error)
        finally:
            self._lines.put_nowait(None)

    def _why(self, result: ExecResult) -> str:
        said = bytes(self._said).decode("utf-8", "replace").strip().rpartition("\n")[2]
        how = result.message or f"it ended with exit code {result.exit_code}"
        return f"{how} ({result.cause.value})" + (f": {said}" if said else "")

    def _heard(self, stream: Stream, data: bytes) -> None:
        if stream is Stream.STDERR:
            self._said += data
            del self._said[:-_KEPT]
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._lines.put_nowait(bytes(self._partial) + line)
            self._partial.clear()
        self._partial += rest
        if len(self._partial) > LONGEST_MESSAGE and not self.ended:
            self.ended = f"it sent a message of more than {LONGEST_MESSAGE // 2**20} MiB"
            self._lines.put_nowait(None)

    async def _read(self, to_client: Any) -> None:
        """Passes on what the server says; a line that is no message is dropped, as its request will be missed."""
        async with to_client:
            while (line := await self._lines.get()) is not None:
                try:
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError as error:
                    await to_client.send(error)
                    continue
                await to_client.send(SessionMessage(message))

    async def _write(self, from_client: Any) -> None:
        async for sent in from_client:
            line = sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                written = await self._sandbox.exec(
                    ["sh", "-c", 'cat >"$0"', self._pipe], stdin=line, wall_seconds=_WRITE_SECONDS
                )
                problem = "" if written.ok else f"it does not read what it is sent ({written.cause.value})"
            except AgentenvError as error:
                problem = str(error)
            if problem:
                self.ended = self.ended or problem
                self._lines.put_nowait(None)
                return
