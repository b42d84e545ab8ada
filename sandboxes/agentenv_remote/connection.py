"""Requests to a sandbox service: each has a timeout, waits where there is no room, and fails as what it is."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TypeVar

import aiohttp
import pydantic
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from agentenv.errors import AgentenvError, ConfigError, UnsupportedError
from agentenv.sandbox import SandboxFailed, SandboxFileError
from agentenv.sandbox.service.refusals import Code
from agentenv.sandbox.service.wire import ErrorReply, ErrorView

CONNECT_SECONDS = 10.0
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)

_MISTAKES = frozenset(
    {
        Code.MALFORMED,
        Code.UNAUTHORIZED,
        Code.FOREIGN_ORIGIN,
        Code.NOT_FOUND,
        Code.TOO_LARGE,
        Code.IMPOSSIBLE,
    }
)

Reply = TypeVar("Reply", bound=pydantic.BaseModel)


class Full(SandboxFailed):
    """The service has no room now. `retry_after` is how many seconds it advises to wait."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Connection:
    """The way to one service.

    Args:
        patience: seconds in which a request that the service has no room for is made again.
    """

    def __init__(self, url: str, api_key: str | None, patience: float) -> None:
        self.url = url.rstrip("/")
        self._key, self._patience = api_key, patience
        self._jitter = random.Random()
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        # How many may run at a time is the service's to say, not the connector's.
        self._http = aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Connection]:
        """This one where it is open, otherwise another for the length of the block."""
        if self._http is not None:
            yield self
            return
        another = Connection(self.url, self._key, self._patience)
        await another.open()
        try:
            yield another
        finally:
            await another.close()

    async def ask(
        self, reply: type[Reply], method: str, path: str, body: pydantic.BaseModel | None = None, *, seconds: float
    ) -> Reply:
        """The answer to a request, read as a model. Raises what `send` raises."""
        data = None if body is None else body.model_dump_json(exclude_none=True).encode()
        raw = await self.send(method, path, data, content_type="application/json", seconds=seconds)
        try:
            return reply.model_validate_json(raw)
        except pydantic.ValidationError as error:
            raise self._not_ours(raw) from error

    async def send(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        *,
        seconds: float,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> bytes:
        """The bytes of an answer.

        Raises:
            SandboxFailed: the service or the sandbox failed, the connection was lost, or there was no room in time.
            SandboxFileError, ConfigError, UnsupportedError: the service refused the request, and why.
        """

        async def once() -> bytes:
            async with self._request(method, path, data, query, content_type, seconds) as response:
                with self._lost(seconds):
                    return await response.read()

        answer: bytes = await self._patiently()(once)
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, body: pydantic.BaseModel, *, seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer as they come. Raises what `send` raises."""
        data = body.model_dump_json(exclude_none=True).encode()

        async with contextlib.AsyncExitStack() as stack:

            async def once() -> aiohttp.ClientResponse:
                request = self._request("POST", path, data, None, "application/json", seconds)
                return await stack.enter_async_context(request)

            yield self._lines(await self._patiently()(once), seconds)

    def _patiently(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(Full),
            wait=self._wait,
            stop=stop_before_delay(self._patience),
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        """As long as the service advises, and a little: so that those it sent away do not all come back at once."""
        error = state.outcome.exception() if state.outcome is not None else None
        return (error.retry_after if isinstance(error, Full) else 1) + self._jitter.random()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        query: Mapping[str, str] | None,
        content_type: str,
        seconds: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._http is None:
            raise SandboxFailed(f"the sandboxes of {self.url} are not open")
        timeout = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS)
        headers = {"Content-Type": content_type}
        async with contextlib.AsyncExitStack() as stack:
            with self._lost(seconds):
                response = await stack.enter_async_context(
                    self._http.request(
                        method, f"{self.url}{path}", data=data, params=query, headers=headers, timeout=timeout
                    )
                )
                if response.status >= 400:
                    raise self._error(await response.read(), response.status)
            yield response

    @contextlib.contextmanager
    def _lost(self, seconds: float) -> Iterator[None]:
        """What goes wrong with the connection in the block is the sandbox's failure."""
        try:
            yield
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"{self.url!r} is no URL of a sandbox service") from error
        except _BROKEN as error:
            why = str(error) or f"no answer in {seconds:g} s"
            raise SandboxFailed(f"the connection to {self.url} was lost: {why}") from error

    async def _lines(self, response: aiohttp.ClientResponse, seconds: float) -> AsyncIterator[bytes]:
        """The lines of a body, each however long."""
        begun = bytearray()
        with self._lost(seconds):
            async for chunk in response.content.iter_any():
                *ended, rest = chunk.split(b"\n")
                for piece in ended:
                    yield bytes(begun) + piece
                    begun.clear()
                begun += rest

    def _error(self, body: bytes, status: int) -> AgentenvError:
        try:
            return error_of(ErrorReply.model_validate_json(body).error, self.url)
        except pydantic.ValidationError:
            if status in (502, 503, 504):  # whoever stands in front of the service
                return SandboxFailed(f"{self.url} cannot be reached: {status}")
            return self._not_ours(body)

    def _not_ours(self, body: bytes) -> ConfigError:
        return ConfigError(f"{self.url} is no sandbox service of this version: it answered {body[:200]!r}")


def error_of(view: ErrorView, url: str) -> AgentenvError:
    """What a client raises for an error of the service at `url`."""
    match view.code:
        case Code.AT_CAPACITY:
            return Full(f"{url} has no room: {view.message}", view.retry_after or 1)
        case Code.FILE_ERROR:
            return SandboxFileError(view.message)
        case Code.UNSUPPORTED:
            return UnsupportedError(view.message)
        case code if code in _MISTAKES:
            return ConfigError(f"{url}: {view.message}")
        case _:
            return SandboxFailed(f"{url}: {view.message}", None if view.result is None else view.result.to_result())
