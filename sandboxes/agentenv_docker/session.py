"""A live Python session in a container, seen from this side."""

from __future__ import annotations

import asyncio
import math
import signal
import time

from agentenv.sandbox import Cause, ExecResult, OnOutput, PythonSession, SandboxFailed
from agentenv.sandbox.collected import Collected
from agentenv.sandbox.parts import Ended
from agentenv_docker.sandbox import DockerSandbox, Run

_START_SECONDS = 20.0
_INTERRUPT_SECONDS = 1.0
"""How long code that was interrupted has to give up."""


class DockerSession(PythonSession):
    """Made by `DockerSandbox.python`. It cannot be forked."""

    def __init__(self, sandbox: DockerSandbox, run: Run) -> None:
        self._sandbox, self._run = sandbox, run
        self._lock = asyncio.Lock()
        self._stopped: Cause | None = None

    @classmethod
    async def start(cls, sandbox: DockerSandbox) -> DockerSession:
        """A new interpreter in this container.

        Raises:
            SandboxFailed: it could not be started.
        """
        collected = Collected(sandbox.limits.output_bytes, None)
        run = await sandbox.start({"kind": "session"}, b"", collected)
        try:
            async with asyncio.timeout(_START_SECONDS):
                greeting = await run.replies.get()
        except TimeoutError:
            greeting = None
        if greeting is None:
            sandbox.forget(run.number)
            raise SandboxFailed(f"an interpreter could not be started: {collected.outputs()[1].text or 'no answer'}")
        return cls(sandbox, run)

    async def run(
        self, code: str, *, wall_seconds: float | None = None, on_output: OnOutput | None = None
    ) -> ExecResult:
        limits, run = self._sandbox.limits, self._run
        wall = min(wall_seconds or math.inf, limits.wall_seconds)
        async with self._lock:
            if run.ended.done():
                raise SandboxFailed("the session has ended, and its variables are lost; begin another one")
            while not run.replies.empty():  # the code of an earlier piece can write replies too
                run.replies.get_nowait()
            began, self._stopped = time.perf_counter(), None
            run.collected = collected = Collected(limits.output_bytes, on_output)
            run.on_flood = lambda: self._stop(Cause.OUTPUT)
            await self._sandbox.feed(run, code.encode("utf-8", "surrogatepass"))
            timer = asyncio.get_running_loop().call_later(wall, self._stop, Cause.WALL)
            try:
                reply = await run.replies.get()
            except asyncio.CancelledError:
                self._end()  # what it was in the middle of nobody knows
                raise
            finally:
                timer.cancel()
                run.on_flood = _nothing
            ended = Ended(reply) if reply is not None else await run.ended
            cause = await self._sandbox.explain(ended, self._stopped or run.stopped)
            return self._sandbox.result(ended, cause, collected, began, wall)

    async def close(self) -> None:
        self._sandbox.forget(self._run.number)

    def _stop(self, cause: Cause) -> None:
        """Interrupts what is under way; ends the interpreter if that is not heeded."""
        if self._stopped is None and not self._run.ended.done():
            self._stopped = cause
            self._sandbox.signal(self._run.number, signal.SIGINT)
            asyncio.get_running_loop().call_later(_INTERRUPT_SECONDS, self._insist, cause)

    def _insist(self, cause: Cause) -> None:
        if self._stopped is cause and self._lock.locked() and self._run.replies.empty():
            self._end()

    def _end(self) -> None:
        self._sandbox.signal(self._run.number, signal.SIGKILL)


def _nothing() -> None:
    """What is written between two pieces goes nowhere."""
