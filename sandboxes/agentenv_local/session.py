"""A live Python session of a local sandbox, seen from this side."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import time

from agentenv.errors import UnsupportedError
from agentenv.sandbox import Cause, ExecResult, OnOutput, PythonSession, SandboxFailed, Usage, sentence
from agentenv.sandbox.parts import Ended
from agentenv.sandbox.pipes import Pipes
from agentenv_local import wire
from agentenv_local.channel import Channel
from agentenv_local.sandbox import LocalSandbox, Run

_START_SECONDS = 10.0
_INTERRUPT_SECONDS = 1.0
"""How long code that was interrupted has to give up."""
_END_SECONDS = 1.0
"""How long the warden has to say how an interpreter ended."""


class LocalSession(PythonSession):
    """Made by `LocalSandbox.python` and by `fork`; a forked one's process is nobody's run."""

    def __init__(self, sandbox: LocalSandbox, link: socket.socket) -> None:
        self._sandbox = sandbox
        self._channel = Channel(link, self._heard, self._lost)
        self._answer: asyncio.Future[wire.Message | None] = _future()
        self._lock = asyncio.Lock()
        self._process: Run | None = None
        self._pid = 0
        self._stopped: Cause | None = None

    @classmethod
    async def start(cls, sandbox: LocalSandbox) -> LocalSession:
        """A new interpreter in this sandbox.

        Raises:
            SandboxFailed: it could not be started.
        """
        mine, theirs = socket.socketpair()
        session = cls(sandbox, mine)
        nowhere = [os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for _ in range(3)]
        message = {"kind": "session", "seed": None}
        session._process = sandbox.start(next(sandbox.numbers), message, (*nowhere, theirs.detach()))
        await session._greet()
        return session

    async def run(
        self, code: str, *, wall_seconds: float | None = None, on_output: OnOutput | None = None
    ) -> ExecResult:
        limits = self._sandbox.limits
        wall = min(wall_seconds or math.inf, limits.wall_seconds)
        async with self._lock:
            began, self._stopped, self._answer = time.perf_counter(), None, _future()
            pipes = Pipes(limits.output_bytes, on_output, lambda: self._stop(Cause.OUTPUT))
            try:
                self._send({"op": "run", "code": code}, pipes.hand_over())
                timer = asyncio.get_running_loop().call_later(wall, self._stop, Cause.WALL)
                try:
                    answer = await self._answer
                except asyncio.CancelledError:
                    self._signal(signal.SIGKILL)  # what it was in the middle of nobody knows
                    raise
                finally:
                    timer.cancel()
                pipes.drain()
            finally:
                pipes.close()
            ended = await self._death() if answer is None else _ended(answer)
            cause = await self._sandbox.explain(ended, self._stopped)
            usage = Usage(time.perf_counter() - began, ended.cpu_seconds, ended.peak_memory_bytes)
            told = sentence(cause, limits, wall)
            return ExecResult(cause, ended.code, *pipes.outputs(), usage, self._sandbox.isolation, told)

    async def fork(self) -> LocalSession:
        async with self._lock:
            mine, theirs = socket.socketpair()
            other = LocalSession(self._sandbox, mine)
            self._answer = _future()
            self._send({"op": "fork"}, (theirs.detach(),))
            answer = await self._answer
            if answer is None or not answer.get("forked"):
                await other.close()
                raise UnsupportedError(f"the session cannot be forked: {(answer or {}).get('error', 'it has ended')}")
            await other._greet()
            return other

    async def close(self) -> None:
        self._signal(signal.SIGKILL)
        self._channel.close()
        if self._process is not None:
            self._sandbox.forget(self._process.number)

    async def _greet(self) -> None:
        """Waits until the interpreter says which process it is."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await self._answer
        except TimeoutError:
            answer = None
        if answer is None or not isinstance(answer.get("pid"), int):
            await self.close()
            raise SandboxFailed("an interpreter could not be started: it did not answer")
        self._pid = answer["pid"]

    async def _death(self) -> Ended:
        """How the interpreter ended."""
        if self._process is None:
            return Ended(-signal.SIGKILL)
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await asyncio.shield(self._process.ended)
        except TimeoutError:
            return Ended(-signal.SIGKILL)

    def _send(self, message: wire.Message, descriptors: tuple[int, ...]) -> None:
        try:
            self._channel.send(message, descriptors)
        except BrokenPipeError:
            raise SandboxFailed("the session has ended, and its variables are lost; begin another one") from None

    def _stop(self, cause: Cause) -> None:
        """Interrupts what is under way; ends the interpreter if that is not heeded."""
        if self._stopped is None and not self._answer.done():
            self._stopped = cause
            self._signal(signal.SIGINT)
            asyncio.get_running_loop().call_later(_INTERRUPT_SECONDS, self._end, self._answer)

    def _end(self, answer: asyncio.Future[wire.Message | None]) -> None:
        if not answer.done():
            self._signal(signal.SIGKILL)

    def _signal(self, sign: int) -> None:
        if self._pid > 1:
            self._sandbox.signal_process(self._pid, sign)

    def _heard(self, message: wire.Message) -> None:
        if not self._answer.done():
            self._answer.set_result(message)

    def _lost(self) -> None:
        if not self._answer.done():
            self._answer.set_result(None)


def _ended(answer: wire.Message) -> Ended:
    """How a piece of code ended, as its interpreter says; or as the code says, which can write there too."""
    code, seconds = answer.get("code"), answer.get("cpu")
    return Ended(code if isinstance(code, int) else 1, seconds if isinstance(seconds, float) else 0.0)


def _future() -> asyncio.Future[wire.Message | None]:
    return asyncio.get_running_loop().create_future()
