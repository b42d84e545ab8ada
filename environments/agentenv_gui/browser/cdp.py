"""The Chrome DevTools Protocol over a socket of our own: commands with answers, and events.

Messages are JSON, each ended by a zero byte, which is how Chromium speaks on `--remote-debugging-pipe`. There is no
port that others could connect to, a browser whose pipe is closed ends by itself, and a command takes 0.2 ms, a little
less than over a WebSocket. Every target has a session of its own on the one connection ("flat" sessions).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

from agentenv.clock import deadline
from agentenv.errors import SandboxError

COMMAND_SECONDS = 20.0
"""How long a command may take unless it is said; far more than any takes in a browser that is well."""

MOST_FORGOTTEN = 1_000
"""Sessions that have ended and are still known."""

Parameters: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = "asyncio.Future[dict[str, Any]]"
Handler: TypeAlias = Callable[[dict[str, Any]], None]
"""Is told an event's parameters, at once and in order. It must not raise and must not block."""


class BrowserGone(SandboxError):
    """The browser, or the page that was spoken to, is no more."""


class BrowserStuck(SandboxError):
    """There was no answer in time."""


class CommandError(SandboxError):
    """The browser has refused a command.

    Attributes:
        said: the browser's own words.
    """

    def __init__(self, method: str, said: str) -> None:
        super().__init__(f"the browser has refused {method}: {said}")
        self.said = said


class Connection(asyncio.Protocol):
    """One browser's end of the line.

    Example:
        connection = await Connection.over(sock)
        version = await connection.send("Browser.getVersion")
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._last_id = 0
        self._waiting: dict[int, tuple[str, str | None, Answer]] = {}
        self._expected: defaultdict[tuple[str | None, str], list[Answer]] = defaultdict(list)
        self._handlers: defaultdict[tuple[str | None, str], list[Handler]] = defaultdict(list)
        self._forgotten: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._why_closed: str | None = None

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """A connection over this socket, which it closes in the end."""
        _, connection = await asyncio.get_running_loop().create_unix_connection(cls, sock=sock)
        return connection

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more."""
        return self._why_closed is not None

    async def send(
        self,
        method: str,
        params: Parameters | None = None,
        *,
        session: str | None = None,
        timeout: float = COMMAND_SECONDS,
    ) -> dict[str, Any]:
        """Sends a command and waits for its answer.

        Args:
            session: of the target that it is for; the browser itself unless given. timeout: seconds.

        Raises:
            CommandError: it was refused. BrowserStuck: there was no answer in time. BrowserGone: there will be none.
        """
        return await self.answer(self.post(method, params, session=session), timeout)

    def post(self, method: str, params: Parameters | None = None, *, session: str | None = None) -> Answer:
        """Sends a command, and returns what will be its answer. Commands are carried out in the order of sending.

        Whoever does not wait for the answer does not hear of an error either.
        """
        future: Answer = self._loop.create_future()
        if (why := self._why_not(session)) is not None or self._transport is None:
            _fail(future, BrowserGone(why or "the browser is not connected"))
            return future
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method}
        if params:
            message["params"] = params
        if session is not None:
            message["sessionId"] = session
        self._waiting[self._last_id] = method, session, future
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\0")
        return future

    async def answer(self, future: Answer, timeout: float = COMMAND_SECONDS) -> dict[str, Any]:
        """Waits for what `post` or `expect` have returned. Raises as `send` does."""
        try:
            async with deadline(timeout):
                return await future
        except TimeoutError:
            raise BrowserStuck(f"the browser has not answered for {timeout:g} s") from None

    def on(self, event: str, handler: Handler, *, session: str | None = None) -> Callable[[], None]:
        """Tells `handler` of every such event from now on, until the function that is returned is called."""
        handlers = self._handlers[session, event]
        handlers.append(handler)

        def off() -> None:
            if handler in handlers:
                handlers.remove(handler)

        return off

    def expect(self, event: str, *, session: str | None = None) -> Answer:
        """The parameters of the next such event, which fail as an answer does. Cancelled, it is forgotten."""
        future: Answer = self._loop.create_future()
        if (why := self._why_not(session)) is not None:
            _fail(future, BrowserGone(why))
        else:
            waiting = self._expected[session, event]
            waiting[:] = [one for one in waiting if not one.done()]
            waiting.append(future)
        return future

    def _why_not(self, session: str | None) -> str | None:
        """Why nothing can be said, if that is so."""
        if self._why_closed is None and self._transport is not None and self._transport.is_closing():
            return "the browser has ended"
        return self._why_closed or self._forgotten.get(session or "")

    def knows(self, session: str) -> bool:
        """Whether anything can be said to a session: it has not crashed, and the connection is open."""
        return self._why_not(session) is None

    def forget(self, session: str, why: str) -> None:
        """Ends a session on this side: whatever waits for its answers and events fails, and nothing is sent to it."""
        self._forgotten[session] = why
        if len(self._forgotten) > MOST_FORGOTTEN:  # of the others, the browser itself will say that they are gone
            del self._forgotten[next(iter(self._forgotten))]
        for number, (_, whose, future) in list(self._waiting.items()):
            if whose == session:
                del self._waiting[number]
                _fail(future, BrowserGone(why))
        for key in [key for key in self._expected if key[0] == session]:
            for future in self._expected.pop(key):
                _fail(future, BrowserGone(why))
        for key in [key for key in self._handlers if key[0] == session]:
            del self._handlers[key]

    def close(self) -> None:
        """Hangs up. Twice is fine."""
        if self._transport is not None:
            self._transport.abort()
        self._end("the connection to the browser was closed")

    # What asyncio tells a protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the browser has ended" + (f": {exc}" if exc else ""))

    def data_received(self, data: bytes) -> None:
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._parts.append(part)
            whole = b"".join(self._parts)
            self._parts.clear()
            self._received(json.loads(whole))
        if rest:
            self._parts.append(rest)

    def _received(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self._happened(message["method"], message.get("sessionId"), message.get("params", {}))
            return
        known = self._waiting.pop(message["id"], None)
        if known is None or known[2].done():
            return  # whoever asked has gone
        method, _, future = known
        if (error := message.get("error")) is not None:
            _fail(future, CommandError(method, str(error.get("message", error))))
        else:
            future.set_result(message.get("result", {}))

    def _happened(self, event: str, session: str | None, params: dict[str, Any]) -> None:
        for handler in tuple(self._handlers.get((session, event), ())):
            handler(params)
        for future in self._expected.pop((session, event), ()):
            if not future.done():
                future.set_result(params)
        if event == "Target.detachedFromTarget":
            self.forget(params["sessionId"], self._forgotten.get(params["sessionId"], "the page is closed"))

    def _end(self, why: str) -> None:
        if self._why_closed is not None:
            return
        self._why_closed = why
        for _, _, future in self._waiting.values():
            _fail(future, BrowserGone(why))
        for several in self._expected.values():
            for future in several:
                _fail(future, BrowserGone(why))
        self._waiting.clear()
        self._expected.clear()
        self._handlers.clear()


class Session:
    """One target on a connection.

    Attributes:
        connection: to its browser. id: of the session, as the protocol has it.
    """

    __slots__ = ("connection", "id")

    def __init__(self, connection: Connection, id: str) -> None:
        self.connection, self.id = connection, id

    async def send(
        self, method: str, params: Parameters | None = None, *, timeout: float = COMMAND_SECONDS
    ) -> dict[str, Any]:
        """As `Connection.send`."""
        return await self.connection.send(method, params, session=self.id, timeout=timeout)

    def post(self, method: str, params: Parameters | None = None) -> Answer:
        """As `Connection.post`."""
        return self.connection.post(method, params, session=self.id)

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """As `Connection.on`."""
        return self.connection.on(event, handler, session=self.id)

    def expect(self, event: str) -> Answer:
        """As `Connection.expect`."""
        return self.connection.expect(event, session=self.id)

    async def answer(self, future: Answer, timeout: float = COMMAND_SECONDS) -> dict[str, Any]:
        """As `Connection.answer`."""
        return await self.connection.answer(future, timeout)


def _fail(future: Answer, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody has to wait for it
