"""One sandbox of an E2B service, seen from this side."""

from __future__ import annotations

import asyncio
import builtins
import json
import math
import re
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentenv.errors import UnsupportedError
from agentenv.sandbox import (
    Cause,
    Entry,
    ExecResult,
    Isolation,
    Limits,
    OnOutput,
    Output,
    PythonSession,
    Sandbox,
    SandboxFailed,
    SandboxFileError,
    Snapshot,
    Stats,
    Usage,
    sentence,
)
from agentenv.sandbox.collected import Collected
from agentenv.sandbox.parts import argv_of, copy_of
from agentenv_e2b import scripts
from agentenv_e2b.envd import Envd
from agentenv_e2b.wire import Ended, ProcessConfig, StartRequest

if TYPE_CHECKING:
    from agentenv_e2b.backend import E2BSandboxes

_MARK = "AGENTENV_RUN"
"""The variable by which the processes of an execution are found."""
_WORK_SECONDS = 60.0
"""How long a command of our own may take."""
_GRACE_SECONDS = 10.0
"""How long an execution may take to end once it was ended."""
_LATER_SECONDS = 15.0
"""How much later than we the daemon ends what takes too long, where we no longer can."""

_SIGNALS = {(signal.strsignal(number) or "").lower(): number for number in range(1, 16)}


@dataclass(slots=True, eq=False)
class _Running:
    """An execution under way: the mark its processes bear, and why it was stopped, if it was."""

    mark: str
    stopped: Cause | None = None


class E2BSandbox(Sandbox):
    """A virtual machine of an E2B service. Made by `E2BSandboxes`.

    An execution is over when everybody has let go of its output: what is left in the background must write elsewhere.
    """

    isolation = Isolation.MACHINE

    def __init__(self, backend: E2BSandboxes, key: str, limits: Limits, envd: Envd) -> None:
        self._backend, self.key, self._envd = backend, key, envd
        self.id, self.limits = f"e2b-{key}", limits
        self._running: set[_Running] = set()
        self._prefix = f"{secrets.token_hex(8)}."
        self._end = ""

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        return await self._execute(argv_of(command), stdin, wall_seconds, on_output, env=env, cwd=cwd)

    async def run_python(
        self,
        code: str,
        *,
        stdin: bytes = b"",
        seed: int | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        program = await self._put(json.dumps({"code": code, "seed": seed}).encode())
        return await self._execute(["python3", "-I", "-c", scripts.PYTHON, program], stdin, wall_seconds, on_output)

    async def python(self) -> PythonSession:
        """Raises `UnsupportedError`: E2B's API has processes, but no interpreters."""
        raise UnsupportedError("E2B sandboxes have no Python sessions; use run_python, or the local or Docker backend")

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        self._check_open()
        most = 2 * self.limits.disk_bytes
        data = await self._envd.read(path, most + 1 if limit is None else limit)
        if len(data) > most:
            raise SandboxFileError(f"{path}: it is larger than {most:,} bytes")
        return data

    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        self._check_open()
        await self._envd.write(path, data)
        if executable:
            await self._work('chmod 755 -- "$1"', path)

    async def list(self, path: str = ".") -> builtins.list[Entry]:
        self._check_open()
        return await self._envd.entries(path)

    async def snapshot(self) -> Snapshot:
        return Snapshot(await self._work(scripts.PACK, room=4 * self.limits.disk_bytes + 2**20))

    async def restore(self, snapshot: Snapshot) -> None:
        await self._work(scripts.UNPACK, await self._put(snapshot.archive))

    async def fork(self) -> E2BSandbox:
        return await copy_of(self, self._backend.create)

    async def stats(self) -> Stats:
        """What its processes and private files use. What CPU it has used E2B does not tell."""
        pids, memory, disk, files = map(int, (await self._work(scripts.STATS, f"{_MARK}={self._prefix}")).split())
        return Stats(memory_bytes=memory, pids=pids, disk_bytes=disk, files=files)

    async def kill(self) -> None:
        self._check_open()
        self._note(Cause.KILLED)
        await self._work(scripts.END, f"{_MARK}={self._prefix}")

    async def close(self) -> None:
        if self._end:
            return
        self._end = "it was closed"
        self._note(Cause.KILLED)
        await self._backend.end(self)

    def lost(self, why: str) -> None:
        """The service has it no longer."""
        self._end = self._end or why

    # Inside.

    def _note(self, cause: Cause) -> None:
        for running in self._running:
            running.stopped = running.stopped or cause

    async def _execute(
        self,
        argv: Sequence[str],
        stdin: bytes,
        wall_seconds: float | None,
        on_output: OnOutput | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> ExecResult:
        """Runs one program to its end, its time and output watched from here."""
        self._check_open()
        wall = min(wall_seconds or math.inf, self.limits.wall_seconds)
        given = await self._put(stdin) if stdin else ""
        running = _Running(f"{self._prefix}{secrets.token_hex(6)}.")
        arguments = [cwd or ".", given, *_bounds(self.limits), *argv]
        request = _bash(scripts.RUN, arguments, {**(env or {}), _MARK: running.mark})
        collected, began = Collected(self.limits.output_bytes, on_output), time.perf_counter()
        self._running.add(running)
        try:
            ended = await self._until_end(request, wall, running, collected)
        except SandboxFailed as failure:
            if running.stopped is not Cause.KILLED or not self._end:
                failure.result = self._nothing(str(failure))
                raise
            ended = Ended(status="signal: killed")  # the machine went away under it, as it was to
        finally:
            self._running.discard(running)
        code = _exit_code(ended)
        cause = running.stopped or _cause(code)
        usage = Usage(time.perf_counter() - began)
        told = sentence(cause, self.limits, wall)
        return ExecResult(cause, code, *collected.outputs(), usage, self.isolation, told)

    async def _until_end(self, request: StartRequest, wall: float, running: _Running, collected: Collected) -> Ended:
        """Follows a process to its end, and ends it and what it began where a limit is met."""
        flooded = asyncio.Event()
        following = asyncio.ensure_future(self._follow(request, wall + _LATER_SECONDS, collected, flooded))
        flood = asyncio.ensure_future(flooded.wait())
        try:
            done, _ = await asyncio.wait((following, flood), timeout=wall, return_when=asyncio.FIRST_COMPLETED)
            if following not in done:
                running.stopped = running.stopped or (Cause.OUTPUT if flood in done else Cause.WALL)
                await self._work(scripts.END, f"{_MARK}={running.mark}")
                await asyncio.wait((following,), timeout=_GRACE_SECONDS)
                if not following.done():
                    raise SandboxFailed(f"the sandbox {self.id} does not end a program that was ended")
            return following.result()
        except asyncio.CancelledError:
            await self._work(scripts.END, f"{_MARK}={running.mark}")
            raise
        finally:
            for task in (following, flood):
                task.cancel()
            await asyncio.wait((following, flood))

    async def _follow(
        self, request: StartRequest, seconds: float, collected: Collected, flooded: asyncio.Event
    ) -> Ended:
        """Keeps a process's output until it ends; how it did."""
        async with self._envd.start(request, seconds) as events:
            async for event in events:
                if event.data is not None:
                    for stream, data in event.data.pieces():
                        if not collected.add(stream, data):
                            flooded.set()
                if event.end is not None:
                    return event.end
        raise SandboxFailed("the sandbox ended its answer before the process had ended")

    async def _work(self, script: str, *arguments: str, room: int = 2**16) -> bytes:
        """What a script of our own writes.

        Raises:
            SandboxFailed: it failed, or the sandbox did.
        """
        self._check_open()
        collected, flooded = Collected(room, None), asyncio.Event()
        try:
            async with asyncio.timeout(_WORK_SECONDS):
                ended = await self._follow(_bash(script, arguments, {}), _WORK_SECONDS, collected, flooded)
        except TimeoutError:
            raise SandboxFailed(f"the sandbox {self.id} has not answered for {_WORK_SECONDS:g} s") from None
        out, err = collected.outputs()
        if _exit_code(ended) != 0 or flooded.is_set():
            raise SandboxFailed(f"the sandbox {self.id} cannot do as asked: {err.text.strip() or ended.status}")
        return out.data

    async def _put(self, data: bytes) -> str:
        """A file with these bytes, for whoever reads it once and removes it."""
        self._check_open()
        path = f"/tmp/.agentenv-{secrets.token_hex(8)}"
        await self._envd.write(path, data)
        return path

    def _check_open(self) -> None:
        if self._end:
            raise SandboxFailed(f"the sandbox {self.id} is gone: {self._end}", self._nothing(self._end))

    def _nothing(self, why: str) -> ExecResult:
        return ExecResult(Cause.INFRA, None, Output(), Output(), Usage(), self.isolation, why)


def _bounds(limits: Limits) -> tuple[str, ...]:
    """What `scripts.RUN` holds each process to."""
    kib = 1024
    bounds = (math.ceil(limits.cpu_seconds), limits.memory_bytes // kib, limits.pids, limits.disk_bytes // kib)
    return tuple(map(str, bounds))


def _bash(script: str, arguments: Sequence[str], env: Mapping[str, str]) -> StartRequest:
    args = ["-c", script, "agentenv", *arguments]
    return StartRequest(process=ProcessConfig(cmd="/bin/bash", args=args, envs=dict(env)))


def _cause(code: int) -> Cause:
    if code == -signal.SIGXCPU:
        return Cause.CPU
    return Cause.PROGRAM_ERROR if code else Cause.OK


def _exit_code(ended: Ended) -> int:
    """As everywhere here: −n where signal n ended it. Go tells that in words, and by number from 16 on."""
    found = re.match(r"signal: (?:signal (\d+)|([^(]+))", ended.status)
    if found is None:
        return ended.exit_code
    if found[1]:
        return -int(found[1])
    return -_SIGNALS.get(found[2].strip(), signal.SIGKILL)
