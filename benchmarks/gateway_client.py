"""A client as thin as it gets: one connection per coroutine, requests as bytes, the time until the answer is there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast
from urllib.parse import urlsplit

Result = TypeVar("Result")

PLAIN = {
    "model": "mock",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. Answer in a few words."},
        {"role": "user", "content": "What is the capital of France, and what is it known for?"},
    ],
    "temperature": 1.0,
}
"""A chat call without tools, as most clients send it."""

TOOL = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Calculates one operation on two whole numbers and returns the result.\nSupports + (plus), "
        "- (minus) and * (times). It does exactly one operation per call; for a longer calculation\ncall it again with "
        "the previous result as the first number.",
        "parameters": {
            "additionalProperties": False,
            "properties": {"expression": {"description": "Two integers with one operator between.", "type": "string"}},
            "required": ["expression"],
            "type": "object",
        },
    },
}
QUESTION = {"role": "user", "content": "56 minus 31, then plus 30"}
TOOL_RESULT = {"role": "tool", "content": "25", "tool_call_id": "c1"}
FIRST_TURN: Mapping[str, Any] = {"model": "mock", "messages": [QUESTION], "tools": [TOOL]}
"""The first of two turns of a calculator episode."""


def second_turn(answer: bytes, first: Mapping[str, Any] = FIRST_TURN) -> dict[str, Any]:
    """The second turn, with the answer to the first sent back as clients do."""
    message = json.loads(answer)["choices"][0]["message"]
    echo = {name: message[name] for name in ("role", "content", "tool_calls") if name in message}
    return {**first, "messages": [*first["messages"], echo, TOOL_RESULT]}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the seconds it took; `model_seconds` of these the model server says it had it."""

    body: bytes
    seconds: float
    model_seconds: float

    @property
    def overhead(self) -> float:
        """Seconds spent elsewhere than in the model server."""
        return self.seconds - self.model_seconds


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection, one request at a time.

    Raises:
        RuntimeError: an answer with another status than 200 or 201.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._length: int | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        _, protocol = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def close(self) -> None:
        self._transport.close()

    async def send(self, request: bytes) -> Answer:
        """Sends a whole request (see `request`) and waits for its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        head_and_body = await self._answer
        seconds = time.perf_counter() - began
        head, _, body = head_and_body.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(f"{head[:60].decode()}: {body[:500].decode(errors='replace')}")
        return Answer(body, seconds, _model_seconds(body))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            self._length = -1 if at < 0 else end + 4 + int(head[at + 17 :].partition(b"\r\n")[0])
        over = self._buffer.endswith(b"0\r\n\r\n") if self._length < 0 else len(self._buffer) >= self._length
        if over and self._answer is not None:
            answer, self._answer = self._answer, None
            answer.set_result(bytes(self._buffer))
            self._buffer.clear()
            self._length = None

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None:
            self._answer.set_exception(error or RuntimeError("the connection was closed before the answer"))
            self._answer = None


def request(url: str, path: str, body: object, method: str = "POST") -> bytes:
    """The bytes of a request."""
    raw = json.dumps(body).encode()
    host = urlsplit(url).netloc
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAuthorization: Bearer none\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


async def send_all(url: str, requests: Sequence[bytes], in_flight: int) -> list[Answer]:
    """Sends the requests with so many in flight, each coroutine on a connection of its own; the answers in order."""
    connections = [await Connection.open(url) for _ in range(min(in_flight, len(requests)))]
    answers: list[Answer | None] = [None] * len(requests)
    numbered = iter(enumerate(requests))

    async def worker(connection: Connection) -> None:
        for number, one in numbered:
            answers[number] = await connection.send(one)

    try:
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(worker(connection))
    finally:
        for connection in connections:
            connection.close()
    return [answer for answer in answers if answer is not None]


def run_client(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Runs a coroutine on uvloop where it is installed: the client should cost as little as possible."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    result: Result = uvloop.run(main())
    return result


def _model_seconds(body: bytes) -> float:
    """What the answer's id says, see `benchmarks.gateway_upstream`; 0 for other servers' ids."""
    at = body.find(b'"id":"chatcmpl-0')
    if at < 0:
        at = body.find(b'"id": "chatcmpl-0')
    digits = body[at : at + 40].rpartition(b"chatcmpl-")[2].partition(b'"')[0] if at >= 0 else b""
    return int(digits) / 1e9 if digits.isdigit() else 0.0
