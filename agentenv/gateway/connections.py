"""Kept-alive HTTP/1.1 connections to one server, for requests whose answers are taken whole.

A turn that is realigned asks its server five things. aiohttp's client, made for all that HTTP can be, takes several
times longer over each of them than the gateway takes over the rest of a call. This one posts JSON and reads an answer;
it knows no redirects, cookies, proxies or compression. Streams, and whatever is not on the way of a call, go through
aiohttp.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Mapping
from typing import cast

import aiohttp
import yarl

from agentenv.errors import ConfigError
from agentenv.gateway.replies import BadReply, Reply, ReplyReader

IDLE_SECONDS = 4.0
"""How long a connection is kept without use: less than the five seconds after which uvicorn, under vLLM, closes one."""


class CannotConnect(ConnectionError):
    """Nobody listens, or whoever does cannot be reached. The message says why, in words."""


class ConnectionClosed(ConnectionError):
    """The server closed the connection before the whole answer had come."""

    def __init__(self) -> None:
        super().__init__("the connection was closed")


class Connections:
    """The connections to a server: as many as requests are under way.

    Attributes:
        base: URL of the server. headers: sent with every request.
        connect_seconds: how long opening a connection may take.
    """

    def __init__(self, base: yarl.URL, headers: Mapping[str, str], connect_seconds: float) -> None:
        self.base = base
        self.connect_seconds = connect_seconds
        self._idle: list[_Connection] = []
        self._closed = False
        self._tls = ssl.create_default_context() if base.scheme == "https" else None
        self._headers = _head_lines(base, headers)
        self._heads: dict[str, bytes] = {}

    async def post(self, path: str, body: bytes, seconds: float) -> Reply:
        """Posts to a path below the base URL. Whoever stops waiting closes the connection: the server notices.

        Raises:
            CannotConnect: there is no connection to be had.
            TimeoutError: the answer was not there in time.
            ConnectionError: the connection broke, or what came is no answer.
        """
        head = self._heads.get(path)
        if head is None:
            target = self.base.with_path(self.base.path.rstrip("/") + path).raw_path
            head = self._heads[path] = f"POST {target} HTTP/1.1\r\n".encode() + self._headers
        async with asyncio.timeout(seconds):
            connection = self._kept() or await self._connect()
            reply = await connection.ask(b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body)
        if connection.reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    def close(self) -> None:
        """Closes what is not in use now, and every other connection after its answer."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def _kept(self) -> _Connection | None:
        """The connection used last, if it may still be open; when it is too old, so are all the others."""
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.last_used > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        base = self.base
        try:
            async with asyncio.timeout(self.connect_seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, base.host or "", base.port or 80, ssl=self._tls
                )
        except TimeoutError as error:
            raise CannotConnect(f"silent for {self.connect_seconds:g} s") from error
        except OSError as error:
            raise CannotConnect(words_of(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time.

    Attributes:
        reusable: whether the next request can go over it. last_used: when it last sent something, monotonic seconds.
    """

    def __init__(self) -> None:
        self.reusable = False
        self.last_used = 0.0
        self._reader = ReplyReader()
        self._waiting: asyncio.Future[Reply] | None = None

    async def ask(self, head: bytes, body: bytes) -> Reply:
        """Sends a request and waits for its answer; closes the connection when that fails or nobody waits any more."""
        if self._transport.is_closing():
            raise ConnectionClosed
        self.reusable = False
        self._reader = ReplyReader()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.writelines((head, body))
        try:
            reply = await self._waiting
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiting = None
        return reply

    def abort(self) -> None:
        self.reusable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():  # nobody asked for this: the two sides are out of step
            self.abort()
            return
        try:
            reply = self._reader.feed(data)
        except BadReply as error:
            self._waiting.set_exception(error)
            return
        if reply is not None:
            self.reusable = self._reader.keeps_open
            self.last_used = time.monotonic()
            self._waiting.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        if self._waiting is not None and not self._waiting.done():
            reply = self._reader.end() if error is None else None
            if reply is not None:
                self._waiting.set_result(reply)
            else:
                self._waiting.set_exception(ConnectionClosed())


def words_of(error: OSError) -> str:
    """What the operating system says, without what asyncio adds."""
    if isinstance(error, ssl.SSLError) or error.errno is None or error.errno <= 0:  # negative: of the resolver
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()


def _head_lines(base: yarl.URL, headers: Mapping[str, str]) -> bytes:
    """The lines of a request that are always the same."""
    lines = {"Host": base.host_port_subcomponent or "", **headers}
    credentials = aiohttp.BasicAuth.from_url(base)
    if credentials is not None:
        lines["Authorization"] = credentials.encode()
    for name, value in lines.items():
        if "\r" in value or "\n" in value:
            raise ConfigError(f"the header {name} cannot hold a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
