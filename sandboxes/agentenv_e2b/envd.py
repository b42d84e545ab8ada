"""The daemon inside a sandbox: starts processes over Connect-RPC, reads and writes files over HTTP."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import aiohttp
import pydantic

from agentenv.errors import AgentenvError, ConfigError
from agentenv.sandbox import Entry, SandboxFailed, SandboxFileError
from agentenv_e2b.control import BROKEN, message_of
from agentenv_e2b.wire import (
    ListRequest,
    ListResponse,
    Problem,
    ProcessEvent,
    StartRequest,
    StartResponse,
    StreamEnd,
)

PORT = 49983

_ENVELOPE = struct.Struct(">BI")
"""Before each message of a stream: flags, and its length."""
_LAST = 0x02
_LARGEST = 64 * 2**20
_FILE_SECONDS = 120.0
_PING_SECONDS = 20
_SILENT_SECONDS = 3.0 * _PING_SECONDS
"""A stream on which nothing comes for so long, not even a ping, is lost."""
_GONE = frozenset({502, 503, 504})
"""What the service's proxy answers for a sandbox that does not run."""

Message = TypeVar("Message", bound=pydantic.BaseModel)


class Envd:
    """The way to the daemon of one sandbox.

    Args:
        http: what requests go through. url: where it is reached. headers: which sandbox is meant, and its token.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> None:
        self._http, self._url = http, url
        self._headers = dict(headers) | {"Connect-Protocol-Version": "1"}

    @contextlib.asynccontextmanager
    async def start(self, request: StartRequest, seconds: float) -> AsyncIterator[AsyncIterator[ProcessEvent]]:
        """Starts a process; the events of its life, to its end.

        It goes on when nobody listens any more, and is ended by the daemon after `seconds`.

        Raises:
            SandboxFailed: the sandbox is gone, or the connection was lost.
            ConfigError: what is asked for makes no sense to the daemon.
        """
        headers = {
            "Content-Type": "application/connect+json",
            "Connect-Timeout-Ms": str(max(1, round(1000 * seconds))),
            "Keepalive-Ping-Interval": str(_PING_SECONDS),
        }
        message = request.model_dump_json(by_alias=True).encode()
        body = _ENVELOPE.pack(0, len(message)) + message
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_SILENT_SECONDS)
        async with self._request("POST", "/process.Process/Start", body, headers, timeout) as response:
            if response.status != 200:
                raise _failure(response.status, await response.read())
            yield self._events(response.content)

    async def read(self, path: str, limit: int) -> bytes:
        """A file's bytes, the first `limit` of them."""
        data = bytearray()
        async with self._request("GET", "/files", query={"path": path}) as response:
            if response.status != 200:
                raise _file_failure(response.status, path, await response.read())
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) >= limit:
                    break
        return bytes(data[:limit])

    async def write(self, path: str, data: bytes) -> None:
        """Writes a file and the folders it needs."""
        form = aiohttp.FormData()
        form.add_field("file", data, filename="file", content_type="application/octet-stream")
        async with self._request("POST", "/files", form, query={"path": path}) as response:
            if response.status != 200:
                raise _file_failure(response.status, path, await response.read())

    async def entries(self, path: str) -> list[Entry]:
        """The members of a folder by name."""
        body = ListRequest(path=path).model_dump_json(by_alias=True).encode()
        headers = {"Content-Type": "application/json"}
        async with self._request("POST", "/filesystem.Filesystem/ListDir", body, headers) as response:
            answer = await response.read()
        if response.status != 200:
            raise _file_failure(response.status, path, answer)
        found = self._parsed(ListResponse, answer).entries
        return sorted((info.to_entry() for info in found), key=lambda entry: entry.name)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        data: bytes | aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = aiohttp.ClientTimeout(total=_FILE_SECONDS),  # noqa: B008 - immutable
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        sent = self._headers | dict(headers or {})
        try:
            async with self._http.request(
                method, f"{self._url}{path}", data=data, headers=sent, timeout=timeout, params=query
            ) as response:
                yield response
        except BROKEN as error:
            why = str(error) or type(error).__name__
            raise SandboxFailed(f"the connection to the sandbox was lost: {why}") from error

    async def _events(self, content: aiohttp.StreamReader) -> AsyncIterator[ProcessEvent]:
        while True:
            try:
                flags, length = _ENVELOPE.unpack(await content.readexactly(_ENVELOPE.size))
                if length > _LARGEST:
                    raise SandboxFailed(f"{self._url} does not speak Connect: a message of {length} bytes")
                message = await content.readexactly(length)
            except EOFError as error:
                raise SandboxFailed("the sandbox ended its answer before the process had ended") from error
            if flags & _LAST:
                problem = self._parsed(StreamEnd, message).error
                if problem is not None:
                    raise _rpc_failure(problem)
                return
            yield self._parsed(StartResponse, message).event

    def _parsed(self, model: type[Message], body: bytes) -> Message:
        try:
            return model.model_validate_json(body)
        except pydantic.ValidationError as error:
            raise SandboxFailed(f"{self._url} does not speak E2B's API: it answered {body[:200]!r}") from error


def _rpc_failure(problem: Problem) -> AgentenvError:
    said = f"the sandbox's daemon says {problem.code}: {problem.message}"
    return ConfigError(said) if problem.code == "invalid_argument" else SandboxFailed(said)


def _failure(status: int, body: bytes) -> AgentenvError:
    said = f"the sandbox answered {status}: {message_of(body)}"
    return ConfigError(said) if status == 400 else SandboxFailed(said)


def _file_failure(status: int, path: str, body: bytes) -> AgentenvError:
    if status in _GONE or status == 401:
        return _failure(status, body)
    return SandboxFileError(f"{path}: {message_of(body)}")
