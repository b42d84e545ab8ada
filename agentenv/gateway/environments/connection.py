"""The client's side of the WebSocket: one connection per server and event loop, shared by all its environments."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

from agentenv.errors import AgentenvError, ConfigError, EpisodeTimeout
from agentenv.gateway.environments.client_errors import ServerUnreachable, SessionLost, raise_error
from agentenv.gateway.environments.jsontext import encode
from agentenv.gateway.wirejson import loads
from agentenv.messages import Wire

RECONNECT_S = 10.0
"""How long a connection that broke is tried to be made again, while its sessions wait at the server."""

CONNECT_S = 10.0
PING_S = 20.0
"""A server that is silent for so long is asked whether it is still there, and given half as long to say so."""

MARGIN_S = 30.0
"""How much longer than the server allows itself for a call its answer is waited for."""

_CLOSE = aiohttp.ClientWSTimeout(ws_close=2.0)
_TEND_S = 1.0
_PAUSE_S = 0.05
_FRAME = 256 * 1024
"""Bytes of requests that are put into one frame."""

_BEATS = 500
"""Sessions one heartbeat speaks for."""

_FRUITLESS = 5
"""Connections in a row that ended before a single reply: as many, and it is not worth another."""

_NOTHING = encode({"op": "heartbeat", "sessions": []})
_WS = aiohttp.WSMsgType
_THE_END = frozenset({_WS.CLOSE, _WS.CLOSING, _WS.CLOSED, _WS.ERROR})

_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)
_RUBBISH = (KeyError, TypeError, ValueError)


@dataclass(slots=True, eq=False)
class _Pending:
    """A request without a reply."""

    text: bytes
    future: asyncio.Future[Wire]
    since: float
    epoch: str | None


class Connection:
    """Requests and replies over one WebSocket, which is made again when it breaks.

    A request that was under way when the connection broke is sent again with the same id, so it is done once. When the
    server turns out to be another process, requests for sessions fail with `SessionLost`.

    Args:
        url: of the server. key: its API key, if it has one.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._loop = asyncio.get_running_loop()
        self._pending: dict[str, _Pending] = {}
        self._outbox: list[bytes] = []
        self._wake = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._server: Mapping[str, Any] = {}
        self._running: asyncio.Task[None] | None = None
        self._heard = 0
        self._listening = False
        self._wanted = asyncio.Event()
        self._rubbish: Exception | None = None
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self.sessions: set[str] = set()
        """Sessions whose leases are kept alive."""
        self.users = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    async def server(self) -> Mapping[str, Any]:
        """What the server says of itself, connecting first where need be."""
        if self._server and self._running is not None:
            return self._server
        return await self.request({"op": "server"})

    async def request(self, body: Wire, epoch: str | None = None) -> Wire:
        """Sends one request and returns its reply, which is no error.

        Args:
            body: with `op`; the request id is added.
            epoch: of the server the request is for; `None` for any.

        Raises:
            BoundaryError: the server cannot be reached, or what it said stands for one (`client_errors`).
            ConfigError: the server refuses the request as such.
        """
        self._count += 1
        id = f"{self._prefix}-{self._count}"
        body["request_id"] = id
        text = encode(body)
        if self._server and len(text) > self._server["max_body"]:
            raise self._too_large()
        pending = _Pending(text, self._loop.create_future(), self._loop.time(), epoch)
        self._pending[id] = pending
        try:
            if self._socket is None or len(self._pending) > 1 or self._outbox:
                self._post(text)
            else:
                await self._exchange(self._socket, pending)
            reply = await pending.future
        finally:
            self._pending.pop(id, None)
        if "error" in reply:
            raise_error(reply, self.url)
        return reply

    def _post(self, text: bytes) -> None:
        """Sends it, in one frame with whatever else there is to say."""
        self._outbox.append(text)
        if self._running is None:
            self._running = self._loop.create_task(self._run(), name=f"agentenv connection to {self.url}")
        self._wake.set()

    async def close(self) -> None:
        """Ends the connection."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])

    async def _run(self) -> None:
        """Keeps a connection until it cannot be had any more; then every request fails."""
        problem: AgentenvError = ServerUnreachable(f"the connection to {self.url} was closed")
        try:
            timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
            async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as http:
                patience, fruitless = 0.0, 0
                while fruitless < _FRUITLESS:
                    socket = await self._connect(http, patience)
                    self._heard, self._rubbish = 0, None
                    try:
                        await self._greet(socket)
                        await self._talk(socket)
                    except _BROKEN:
                        pass
                    finally:
                        await socket.close()
                    fruitless = 0 if self._heard else fruitless + 1
                    patience = RECONNECT_S
                problem = ServerUnreachable(f"{self.url} closes every connection before it answers")
        except AgentenvError as error:
            problem = error
        except (*_RUBBISH, ExceptionGroup) as error:
            problem = ConfigError(f"{self.url} is no environment server of this version: {error!r:.200}")
        finally:
            if self._running is asyncio.current_task():
                self._running = None
            self._fail(problem, lambda _: True)

    async def _connect(self, http: aiohttp.ClientSession, patience: float) -> aiohttp.ClientWebSocketResponse:
        deadline = self._loop.time() + patience
        pause = _PAUSE_S
        while True:
            try:
                return await http.ws_connect(f"{self.url}/socket", timeout=_CLOSE, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as error:
                if error.status == 401:
                    raise ConfigError(f"{self.url} wants its API key (api_key=, or {KEY_VARIABLE})") from error
                raise ConfigError(f"{self.url} is no environment server: it answered {error.status}") from error
            except (*_BROKEN, ValueError) as error:
                if self._loop.time() + pause > deadline:
                    raise ServerUnreachable(f"no environment server answers at {self.url}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Learns whom it speaks to, and sends again what was under way."""
        await socket.send_str('{"op":"server","request_id":"hello"}')
        async with asyncio.timeout(CONNECT_S):
            hello = loads(await socket.receive_str())
        raise_error(hello, self.url)
        self._server, epoch = hello, hello["epoch"]
        lost = SessionLost(f"{self.url} was restarted; the session it had is gone")
        self._fail(lost, lambda pending: pending.epoch not in (None, epoch))
        self._fail(self._too_large(), lambda pending: len(pending.text) > hello["max_body"])
        self._outbox = [pending.text for pending in self._pending.values() if not pending.future.done()]
        self._wake.set()

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._write(socket)), group.create_task(self._tend(socket))]
            try:
                while self._listening or await self._listen(socket):
                    # Whoever is alone in waiting for a reply listens himself: see `_exchange`.
                    if self._listening or len(self._pending) <= 1:
                        self._wanted.clear()
                        await self._wanted.wait()
            finally:
                self._socket = None
                for other in others:
                    other.cancel()
        if self._rubbish is not None:
            raise self._rubbish

    async def _exchange(self, socket: aiohttp.ClientWebSocketResponse, pending: _Pending) -> None:
        """Sends the only request there is, and hears its reply. When others came meanwhile, others listen on.

        Nobody else speaks, so nothing is gained by waiting for company in the frame, and where nobody listens either
        it saves a turn of the loop to do that here.
        """
        try:
            await socket.send_frame(pending.text, _WS.TEXT)
        except _BROKEN:  # whoever listens notices too, and sends everything pending again
            self._wanted.set()
            return
        if self._listening:
            return
        try:
            while not pending.future.done() and await self._listen(socket):
                pass
        finally:
            if len(self._pending) > 1 or not pending.future.done():
                self._wanted.set()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Hears one frame of replies. False: there will be no more."""
        if self._rubbish is not None:
            return False
        self._listening = True
        try:
            message = await socket.receive()
        finally:
            self._listening = False
        try:
            if message.type is _WS.TEXT:
                for line in message.data.split("\n"):
                    self._hear(loads(line))
        except _RUBBISH as error:  # whoever heard it: the connection is at its end
            self._rubbish = error
            return False
        return message.type not in _THE_END

    def _too_large(self) -> ConfigError:
        return ConfigError(f"{self.url} takes requests of at most {self._server['max_body']} bytes (--max-body)")

    def _hear(self, reply: Wire) -> None:
        self._heard += 1
        pending = self._pending.get(reply["request_id"])
        if pending is not None and not pending.future.done():
            pending.future.set_result(reply)

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        room = min(_FRAME, self._server["max_body"])
        with suppress(*_BROKEN):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    count, size = 1, len(self._outbox[0])
                    while count < len(self._outbox) and (size := size + 1 + len(self._outbox[count])) < room:
                        count += 1
                    frame = b"\n".join(self._outbox[:count])
                    del self._outbox[:count]
                    await socket.send_frame(frame, _WS.TEXT)

    async def _tend(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Renews the leases, fails requests that should have been answered long ago, and sees to it that somebody
        listens here and somebody is there."""
        limit = self._server["environment_timeout"] + MARGIN_S
        beaten = heard_at = self._loop.time()
        heard, asked_at = self._heard, None
        while True:
            await asyncio.sleep(min(_TEND_S, self._server["lease"] / 6, PING_S / 4))
            now = self._loop.time()
            self._wanted.set()
            if heard != self._heard:
                heard, heard_at, asked_at = self._heard, now, None
            elif asked_at is None and now - heard_at > PING_S:
                asked_at = now
                self._post(_NOTHING)
            elif asked_at is not None and now - asked_at > PING_S / 2:
                await socket.close()
            late = EpisodeTimeout(f"{self.url} gave no answer in {limit:g} s")
            if self._fail(late, lambda pending: now - pending.since > limit):  # noqa: B023 - called here and now
                self._post(_NOTHING)  # its reply wakes the one who listens, who may be one of them
            if self.sessions and now - beaten > self._server["lease"] / 3:
                beaten = now
                # Their replies are nobody's: what became of a session its next step will tell.
                alive = sorted(self.sessions)
                for first in range(0, len(alive), _BEATS):
                    self._post(encode({"op": "heartbeat", "sessions": alive[first : first + _BEATS]}))

    def _fail(self, error: AgentenvError, concerned: Callable[[_Pending], bool]) -> int:
        """Gives up the requests that are concerned; how many."""
        failed = [pending for pending in self._pending.values() if concerned(pending) and not pending.future.done()]
        for pending in failed:
            pending.future.set_exception(error)
        return len(failed)


KEY_VARIABLE = "AGENTENV_ENVIRONMENT_KEY"
"""The environment variable with the API key of environment servers."""

_CONNECTIONS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str | None], Connection]] = (
    WeakKeyDictionary()
)


def acquire(url: str, key: str | None) -> Connection:
    """The running loop's connection to a server; every `acquire` needs a `release`."""
    connections = _CONNECTIONS.setdefault(asyncio.get_running_loop(), {})
    connection = connections.get((url, key))
    if connection is None:
        connection = connections[url, key] = Connection(url, key)
    connection.users += 1
    return connection


async def release(connection: Connection, key: str | None) -> None:
    """Gives a connection back. The last to do so closes it."""
    connection.users -= 1
    if connection.users:
        return
    connections = _CONNECTIONS.get(asyncio.get_running_loop(), {})
    if connections.get((connection.url, key)) is connection:
        del connections[connection.url, key]
    await connection.close()
