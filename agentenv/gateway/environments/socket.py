"""The WebSocket: any number of sessions over one connection, with fewer microseconds a step than HTTP needs.

A text frame holds one or more JSON objects, one a line. A request is the body its HTTP route takes, plus `op` (see
`Operation`) and `session`; its reply is the body HTTP would give. Replies come when they are ready, in any order:
`request_id` says whose they are. What is ready at the same moment travels in one frame, which is where most of the
time is saved when many sessions play.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web

from agentenv.gateway.environments.calls import Stepped
from agentenv.gateway.environments.jsontext import decode
from agentenv.gateway.environments.operations import Operation, Operations, operation_of
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.session import Reply
from agentenv.messages import Wire
from agentenv.rollout.lent import LentCall

PING_S = 20.0
"""A peer that is silent for so long is asked whether it is still there, and given half as long to say so."""

CLOSE_S = 2.0
"""How long a peer may take to agree that the connection ends."""

_THE_END = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


class EnvironmentSocket:
    """One connection.

    Args:
        operations: what can be asked.
        max_body: bytes of one frame.
    """

    def __init__(self, operations: Operations, max_body: int) -> None:
        self._operations = operations
        self._socket = web.WebSocketResponse(timeout=CLOSE_S, max_msg_size=max_body, compress=False, autoping=False)
        self._heard = True
        self._lines: deque[str] = deque()
        self._ready: list[bytes] = []
        self._wake = asyncio.Event()
        self._in_flight = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answers requests until the other side has gone. Steps that still run then go on and are recorded."""
        await self._socket.prepare(request)
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._reader = self._loop.create_task(self._read())
        async with asyncio.TaskGroup() as self._group:
            others = [self._group.create_task(self._write()), self._group.create_task(self._watch())]
            try:
                await self._gone
            finally:
                for other in (self._reader, *others):
                    other.cancel()
        return self._socket

    async def close(self) -> None:
        """Tells the other side that the server ends."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    async def _read(self) -> object:
        """Reads and answers, in a task of its own.

        When a step has to wait, the task is the step's from then on, and a successor goes on reading: so a step that
        need not wait costs no task at all.
        """
        try:
            lent = await self._answer_until_a_step_waits()
        except Exception as error:
            self._end(error)
            return None
        if lent is not None:
            self._reader = self._loop.create_task(self._read())
            return await lent.rest()
        self._end()
        return None

    def _end(self, error: Exception | None = None) -> None:
        if self._gone.done():
            return
        if error is None:
            self._gone.set_result(None)
        else:
            self._gone.set_exception(error)

    async def _watch(self) -> None:
        """Ends the connection when nobody is there any more.

        aiohttp can do that too, and looks at the clock with every message for it; this does a few times a minute.
        """
        while self._heard:
            self._heard = False
            await asyncio.sleep(PING_S)
            if not self._heard:
                with suppress(ConnectionError):
                    await self._socket.ping()
                await asyncio.sleep(PING_S / 2)
        self._end()

    async def _answer_until_a_step_waits(self) -> LentCall[Stepped] | None:
        """The step that waits; `None` when the other side has gone."""
        while True:
            while self._lines:
                lent = self._answer(self._lines.popleft())
                if lent is not None:
                    return lent
            if self._ready:
                await self._flush()
            message = await self._socket.receive()
            self._heard = True
            if message.type is WSMsgType.TEXT:
                self._lines.extend(message.data.split("\n"))
            elif message.type in _THE_END:
                return None
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                refusal = Refusal(Code.MALFORMED, "requests are text frames")
                self._ready.append(self._operations.refuse(refusal, {}).text)

    def _answer(self, line: str) -> LentCall[Stepped] | None:
        """Begins what a line asks for. The step that the current task is lent to, if it is."""
        request: Wire = {}
        try:
            request = decode(line)
            operation = operation_of(request)
        except Refusal as refusal:
            self._ready.append(self._operations.refuse(refusal, request).text)
            return None
        if operation is not Operation.STEP:
            self._group.create_task(self._perform(operation, request))
            return None
        answer = self._operations.step(request, self._deliver, lend=True)
        if isinstance(answer, Reply):
            self._ready.append(answer.text)
            return None
        self._in_flight += 1
        return answer.lent

    async def _perform(self, operation: Operation, request: Wire) -> None:
        self._send(await self._operations.perform(operation, request))

    async def _deliver(self, reply: Reply) -> None:
        """Sends the reply to a step that had to wait."""
        self._in_flight -= 1
        if self._in_flight or self._ready:
            self._send(reply)
            return
        # Nothing else is on its way, so nothing is gained by waiting for company in the frame.
        self._ready.append(reply.text)
        await self._flush()

    def _send(self, reply: Reply) -> None:
        self._ready.append(reply.text)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()

    async def _flush(self) -> None:
        """Sends everything that is ready in one frame."""
        frame = b"\n".join(self._ready)
        self._ready.clear()
        if frame:
            with suppress(ConnectionError):  # the reader notices too, and ends the connection
                await self._socket.send_frame(frame, WSMsgType.TEXT)
