"""Whole answers over kept-alive connections: one a request, used again, closed when nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import yarl

from agentenv.errors import ConfigError
from agentenv.gateway import connections as module
from agentenv.gateway.connections import CannotConnect, ConnectionClosed, Connections
from agentenv.gateway.replies import BadReply

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every request by what a test says; `heads` and `bodies` are what was asked, `opened` how many came."""

    def __init__(self, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.answer = answer
        self.opened = 0
        self.asked = asyncio.Event()
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.left = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                self.asked.set()
                await self.answer(writer)
        self.left.set()
        writer.close()


def saying(answer: bytes, *, then_leave: bool = False) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if then_leave:
            writer.close()

    return say


async def silence(writer: asyncio.StreamWriter) -> None:
    return


@contextlib.asynccontextmanager
async def connected(server: Server, path: str = "", **headers: str) -> AsyncIterator[Connections]:
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    connections = Connections(yarl.URL(f"http://127.0.0.1:{port}{path}"), headers, connect_seconds=5.0)
    try:
        yield connections
    finally:
        connections.close()
        listening.close()
        await listening.wait_closed()


async def test_a_request_names_its_host_and_goes_below_the_base_url() -> None:
    server = Server(saying(ANSWER))
    async with connected(server, "/models/a", Authorization="Bearer k") as connections:
        reply = await connections.post("/v1/chat/completions", b'{"a":1}', 5.0)
        port = connections.base.port
    assert (reply.status, reply.body) == (200, b"ok")
    assert server.heads == [
        f"POST /models/a/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer k\r\n"
        "Content-Length: 7\r\n\r\n"
    ]
    assert server.bodies == [b'{"a":1}']


async def test_requests_after_one_another_share_a_connection_and_side_by_side_they_do_not() -> None:
    server = Server(saying(ANSWER))
    async with connected(server) as connections:
        for _ in range(3):
            await connections.post("/", b"", 5.0)
        assert server.opened == 1
        await asyncio.gather(*(connections.post("/", b"x", 5.0) for _ in range(3)))
        assert server.opened == 3


@pytest.mark.parametrize("answer", [ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), ANSWER + b"?"])
async def test_a_connection_the_server_is_done_with_is_not_used_again(answer: bytes) -> None:
    server = Server(saying(answer))
    async with connected(server) as connections:
        for _ in range(2):
            with contextlib.suppress(BadReply):
                await connections.post("/", b"", 5.0)
    assert server.opened == 2


async def test_a_connection_that_idled_too_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(saying(ANSWER))
    async with connected(server) as connections:
        await connections.post("/", b"", 5.0)
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
        await connections.post("/", b"", 5.0)
    assert server.opened == 2


async def test_an_answer_may_end_with_the_connection() -> None:
    server = Server(saying(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_leave=True))
    async with connected(server) as connections:
        assert (await connections.post("/", b"", 5.0)).body == b"all of it"


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"])
async def test_a_connection_that_breaks_is_told_from_one_that_cannot_be_had(begun: bytes) -> None:
    server = Server(saying(begun, then_leave=True))
    async with connected(server) as connections:
        with pytest.raises(ConnectionClosed):
            await connections.post("/", b"", 5.0)
    with pytest.raises(CannotConnect, match="connection refused"):
        await connections.post("/", b"", 5.0)


async def test_whoever_waits_no_longer_closes_the_connection() -> None:
    server = Server(silence)
    async with connected(server) as connections:
        with pytest.raises(TimeoutError):
            await connections.post("/", b"", 0.01)
        await asyncio.wait_for(server.left.wait(), 5)
        server.left.clear()
        server.asked.clear()
        asking = asyncio.create_task(connections.post("/", b"", 5.0))
        await asyncio.wait_for(server.asked.wait(), 5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(server.left.wait(), 5)


async def test_an_https_url_is_spoken_to_in_tls() -> None:
    server = Server(saying(ANSWER))
    async with connected(server) as plain:
        connections = Connections(plain.base.with_scheme("https"), {}, connect_seconds=5.0)
        with pytest.raises((CannotConnect, TimeoutError)):
            await connections.post("/", b"", 0.2)
    assert server.heads == []


async def test_credentials_of_the_url_are_presented_and_headers_hold_one_line() -> None:
    connections = Connections(yarl.URL("http://ann:secret@127.0.0.1:1"), {"X": "y"}, 5.0)
    assert b"Authorization: Basic YW5uOnNlY3JldA==\r\n" in connections._headers
    with pytest.raises(ConfigError, match="line break"):
        Connections(yarl.URL("http://127.0.0.1:1"), {"Authorization": "a\r\nX: y"}, 5.0)
