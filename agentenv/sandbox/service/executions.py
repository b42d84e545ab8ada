"""Executions of a service: each waits for its turn, is counted, and is answered whole or as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from agentenv.errors import AgentenvError
from agentenv.sandbox.contract import OnOutput, Stream
from agentenv.sandbox.errors import SandboxFailed
from agentenv.sandbox.result import Cause, ExecResult
from agentenv.sandbox.service.answers import error_view, json_response
from agentenv.sandbox.service.metrics import Metrics
from agentenv.sandbox.service.refusals import Refusal
from agentenv.sandbox.service.turnstile import Turnstile
from agentenv.sandbox.service.wire import PieceView, ResultReply, StreamLine

Run = Callable[[OnOutput | None], Awaitable[ExecResult]]
"""Runs a program, and tells of its output if somebody wants to hear it."""


class Executions:
    """Runs what requests ask for, when it is its turn."""

    def __init__(self, turnstile: Turnstile, metrics: Metrics) -> None:
        self._turnstile = turnstile
        self._metrics = metrics

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The block runs when it is its turn. Raises `AtCapacity` where there is no room for it."""
        return self._turnstile.turn()

    async def counted(self, run: Run, hear: OnOutput | None = None) -> ExecResult:
        """One execution of a block whose turn it is.

        Raises:
            SandboxFailed: the sandbox itself failed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            result = await run(hear)
        except SandboxFailed:
            self._metrics.ended(Cause.INFRA, loop.time() - began)
            raise
        self._metrics.ended(result.cause, loop.time() - began)
        return result

    async def answer(self, request: web.Request, run: Run, *, stream: bool) -> web.StreamResponse:
        """The answer to a request for one execution, when it is its turn.

        Raises:
            AtCapacity: there is no room for it. SandboxFailed: the sandbox itself failed; a stream says so as a line.
        """
        async with self.turn():
            if not stream:
                return json_response(ResultReply.of(await self.counted(run)))
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            try:
                await self._tell(response, run)
            except* ConnectionResetError:
                pass  # nobody listens any more, and the execution has been ended
            return response

    async def _tell(self, response: web.StreamResponse, run: Run) -> None:
        lines: asyncio.Queue[StreamLine] = asyncio.Queue()

        def hear(stream: Stream, data: bytes) -> None:
            lines.put_nowait(StreamLine(output=PieceView(stream=stream, data=data)))

        async def execute() -> None:
            lines.put_nowait(await self._last_line(run, hear))

        async with asyncio.TaskGroup() as group:
            group.create_task(execute())
            while True:
                line = await lines.get()
                await response.write(line.model_dump_json(exclude_none=True).encode() + b"\n")
                if line.output is None:
                    break
            await response.write_eof()

    async def _last_line(self, run: Run, hear: OnOutput) -> StreamLine:
        try:
            return StreamLine(result=ResultReply.of(await self.counted(run, hear)))
        except AgentenvError as error:
            return StreamLine(error=error_view(Refusal.of(error)))
