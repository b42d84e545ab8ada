"""The WebSocket: any number of sessions over one connection, with fewer microseconds a step than HTTP needs.

A text frame holds one or more JSON objects, one a line. A request is the body its HTTP route takes, plus `op` (see
`Operation`) and `session`; its reply is the body HTTP would give. Replies come when they are ready, in any order:
`request_id` says whose they are. What is ready at the same moment travels in one frame, which is where most of the
time is saved when many sessions play.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from agentenv.gateway.environments.jsontext import decode
from agentenv.gateway.environments.operations import Operation, Operations, operation_of
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.session import Reply
from agentenv.messages import Wire

PING_S = 20.0
"""A peer that is silent for so long is asked whether it is still there."""

CLOSE_S = 2.0
"""How long a peer may take to agree that the connection ends."""


class EnvironmentSocket:
    """One connection.

    Args:
        operations: what can be asked.
        max_body: bytes of one frame.
    """

    def __init__(self, operations: Operations, max_body: int) -> None:
        self._operations = operations
        self._socket = web.WebSocketResponse(timeout=CLOSE_S, max_msg_size=max_body, compress=False, heartbeat=PING_S)
        self._ready: list[bytes] = []
        self._wake = asyncio.Event()
        self._in_flight = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answers requests until the other side has gone. Steps that still run then go on and are recorded."""
        await self._socket.prepare(request)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write())
            try:
                async for message in self._socket:
                    if message.type is WSMsgType.TEXT:
                        self._read(message.data, group)
                    else:
                        refusal = Refusal(Code.MALFORMED, "requests are text frames")
                        self._send(self._operations.refuse(refusal, {}))
            finally:
                writer.cancel()
        return self._socket

    async def close(self) -> None:
        """Tells the other side that the server ends."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    def _read(self, frame: str, group: asyncio.TaskGroup) -> None:
        for line in frame.split("\n"):
            request: Wire = {}
            try:
                request = decode(line)
                operation = operation_of(request)
            except Refusal as refusal:
                self._send(self._operations.refuse(refusal, request))
                continue
            if operation is not Operation.STEP:
                group.create_task(self._perform(operation, request))
                continue
            answer = self._operations.step(request, self._deliver)
            if isinstance(answer, Reply):
                self._send(answer)
            else:
                self._in_flight += 1

    async def _perform(self, operation: Operation, request: Wire) -> None:
        self._send(await self._operations.perform(operation, request))

    async def _deliver(self, reply: Reply) -> None:
        """Sends the reply to a step."""
        self._in_flight -= 1
        if self._in_flight or self._ready:
            self._send(reply)
            return
        # Nothing else is on its way, so nothing is gained by waiting for company in the frame.
        with suppress(ConnectionError):
            await self._socket.send_frame(reply.text, WSMsgType.TEXT)

    def _send(self, reply: Reply) -> None:
        self._ready.append(reply.text)
        self._wake.set()

    async def _write(self) -> None:
        with suppress(ConnectionError):  # the reader notices too, and ends the connection
            while True:
                await self._wake.wait()
                self._wake.clear()
                frame = b"\n".join(self._ready)
                self._ready.clear()
                await self._socket.send_frame(frame, WSMsgType.TEXT)
