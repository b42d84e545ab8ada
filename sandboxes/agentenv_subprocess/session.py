"""A Python interpreter as a plain process, told over a socket what to run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sys
import time

from agentenv.sandbox import Cause, ExecResult, OnOutput, PythonSession, SandboxFailed
from agentenv.sandbox.pipes import Pipes
from agentenv_subprocess.sandbox import RUNNER, SubprocessSandbox

_INTERRUPT_SECONDS = 1.0
"""How long code that was interrupted has to give up."""
_SEND_SECONDS = 10.0
_LENGTH = 4


class SubprocessSession(PythonSession):
    """Made by `SubprocessSandbox.python`. It cannot be forked."""

    def __init__(self, sandbox: SubprocessSandbox, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self._sandbox, self._process, self._link = sandbox, process, link
        self._lock = asyncio.Lock()

    @classmethod
    async def start(cls, sandbox: SubprocessSandbox) -> SubprocessSession:
        """A new interpreter.

        Raises:
            SandboxFailed: it could not be started, or the sandbox is closed.
        """
        sandbox.check_open()
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        nowhere = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *sandbox.limited([sys.executable, "-I", RUNNER, "session", str(theirs.fileno())], ends=False),
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
                env=sandbox.environment(),
                cwd=sandbox.work,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            mine.close()
            raise SandboxFailed(f"an interpreter could not be started: {error}") from error
        finally:
            theirs.close()
        return cls(sandbox, process, mine)

    async def run(
        self, code: str, *, wall_seconds: float | None = None, on_output: OnOutput | None = None
    ) -> ExecResult:
        async with self._lock:
            self._sandbox.check_open()
            began, flooded = time.perf_counter(), asyncio.Event()
            pipes = Pipes(self._sandbox.limits.output_bytes, on_output, flooded.set)
            try:
                await self._send(json.dumps({"code": code}).encode(), pipes.hand_over())
                limit = min(wall_seconds or math.inf, self._sandbox.limits.wall_seconds)
                answer, cause = await self._until_answer(flooded, limit)
                pipes.drain()
                if answer is None:
                    await self._process.wait()
                    answer = self._process.returncode
                cause = cause or (Cause.OK if answer == 0 else Cause.PROGRAM_ERROR)
                return self._sandbox.result(answer, cause, pipes, began, limit)
            except asyncio.CancelledError:
                self._signal(signal.SIGKILL)
                raise
            finally:
                pipes.close()

    async def close(self) -> None:
        self._signal(signal.SIGKILL)
        self._link.close()
        await self._process.wait()

    async def _until_answer(self, flooded: asyncio.Event, seconds: float) -> tuple[int | None, Cause | None]:
        """The exit code, `None` where the interpreter has ended; and the limit that was met."""
        reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(self._link, 1))
        flood = asyncio.ensure_future(flooded.wait())
        cause = None
        try:
            done, _ = await asyncio.wait((reading, flood), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if reading not in done:
                cause = Cause.OUTPUT if flood in done else Cause.WALL
                self._signal(signal.SIGINT)
                done, _ = await asyncio.wait((reading,), timeout=_INTERRUPT_SECONDS)
            if reading not in done:
                self._signal(signal.SIGKILL)
            with contextlib.suppress(ConnectionError):
                if data := await reading:
                    return data[0], cause
            return None, cause
        finally:
            flood.cancel()
            reading.cancel()

    async def _send(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        """To an interpreter that waits for nothing else, so that there is room for the head."""
        try:
            socket.send_fds(self._link, [len(body).to_bytes(_LENGTH, "big")], descriptors)
            async with asyncio.timeout(_SEND_SECONDS):
                await asyncio.get_running_loop().sock_sendall(self._link, body)
        except OSError:
            raise SandboxFailed("the session has ended, and its variables are lost; begin another one") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
