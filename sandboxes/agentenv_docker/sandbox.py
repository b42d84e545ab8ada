"""One container as a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentenv.sandbox import (
    Cause,
    Entry,
    EntryKind,
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
    Stream,
    Usage,
    sentence,
)
from agentenv.sandbox.collected import Collected
from agentenv.sandbox.parts import Ended, argv_of, cause_of, copy_of, watched
from agentenv_docker.link import Header, Link

if TYPE_CHECKING:
    from agentenv_docker.backend import DockerSandboxes
    from agentenv_docker.engine import Started

_START_SECONDS = 30.0
_GRACE_SECONDS = 2.0
"""How long the agent may take to end what it was told to; then the whole container is ended by the engine."""
_COUNT_SECONDS = 10.0
_DESCRIPTORS = 256


@dataclass(frozen=True, slots=True)
class Counted:
    """What the container has used: bytes now, times the memory ran out, processes now, times one was refused, CPU."""

    memory: int = 0
    oom: int = 0
    pids: int = 0
    refused: int = 0
    cpu: float = 0.0


@dataclass(slots=True)
class Run:
    """An execution under way; a session's lasts for many pieces, each with a reply and what it has written.

    Attributes:
        on_flood: told when more was written than may be.
    """

    number: int
    collected: Collected
    ended: asyncio.Future[Ended]
    on_flood: Callable[[], None]
    stopped: Cause | None = None
    replies: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)


class DockerSandbox(Sandbox):
    """A container. Made by `DockerSandboxes`."""

    isolation = Isolation.CONTAINER

    def __init__(self, number: int, limits: Limits, backend: DockerSandboxes) -> None:
        self.id = f"docker-{os.getpid()}-{number}"
        self.limits = limits
        self.container: str | None = None
        self._backend = backend
        self._link = Link(self._heard, self._lost)
        self._numbers = itertools.count(1)
        self._runs: dict[int, Run] = {}
        self._counts: dict[int, asyncio.Future[Counted]] = {}
        self._seen = Counted()
        self._ready, self._quiet, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._end: str | None = None

    async def begin(self, started: Started) -> None:
        """Waits until the agent answers.

        Raises:
            SandboxFailed: it does not: the image may have no python3.
        """
        self.container = started.id
        await self._link.open(started.stream)
        ready = asyncio.ensure_future(self._ready.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((ready, ended), timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                words = self._link.last_words or "its first process did not answer"
                raise SandboxFailed(
                    f"a container of {self._backend.image} could not be used, which needs a python3: {words}"
                )
        finally:
            ready.cancel()
            ended.cancel()

    @property
    def alive(self) -> bool:
        """Whether the container still runs."""
        return self._end is None

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
        message = {"kind": "command", "argv": argv_of(command), "env": dict(env or {}), "cwd": cwd}
        return await self._execute(message, stdin, wall_seconds, on_output)

    async def run_python(
        self,
        code: str,
        *,
        stdin: bytes = b"",
        seed: int | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        program = code.encode("utf-8", "surrogatepass")
        given = json.dumps({"bytes": len(program), "seed": seed})
        message = {"kind": "main", "env": {"AGENTENV_PROGRAM_LENGTH": given}}
        return await self._execute(message, program + stdin, wall_seconds, on_output)

    async def python(self) -> PythonSession:
        from agentenv_docker.session import DockerSession

        return await DockerSession.start(self)

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        return (await self._files("read", {"path": path, "limit": limit})).stdout.data

    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        await self._files("write", {"path": path, "executable": executable}, stdin=data)

    async def list(self, path: str = ".") -> list[Entry]:
        found = await self._files("list", {"path": path})
        return [Entry(name, EntryKind(kind), size) for name, kind, size in json.loads(found.stdout.data)]

    async def snapshot(self) -> Snapshot:
        return Snapshot((await self._files("pack", {})).stdout.data)

    async def restore(self, snapshot: Snapshot) -> None:
        await self._files("unpack", {}, stdin=snapshot.archive)

    async def commit(self, name: str) -> str:
        """Makes an image of the container's root as it is now; its id. Worth it where the root is writable.

        Args:
            name: of the image, as in `agentenv/mine`.
        """
        if self.container is None or self._end is not None:
            raise self._failure()
        return await self._backend.engine.commit(self.container, name)

    async def fork(self) -> DockerSandbox:
        return await copy_of(self, self._backend.create)

    async def stats(self) -> Stats:
        counted = await self.count()
        used, files = json.loads((await self._files("usage", {})).stdout.data)
        return Stats(counted.memory, max(counted.pids - 1, 0), counted.cpu, used, files)

    async def kill(self) -> None:
        if self._end is not None:
            raise self._failure()
        self._note_killed()
        self._quiet.clear()
        self._link.post({"op": "kill"})
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._quiet.wait()
        except TimeoutError:
            await self._remove()
            raise SandboxFailed(f"the sandbox {self.id} cannot end its processes, and is ended itself") from None

    async def close(self) -> None:
        self._end = self._end or "it was closed"
        self._backend.forget(self)
        self._note_killed()
        self._link.finish()  # the agent ends, and the engine ends and removes everything else
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                if self.container is not None:
                    await self._ended.wait()
        except TimeoutError:
            await self._remove()
        self._lost()
        await self._link.close()

    # What a session calls too.

    async def start(self, message: Mapping[str, Any], stdin: bytes, collected: Collected) -> Run:
        """Starts a program.

        Raises:
            SandboxFailed: the container is gone.
        """
        if self._end is not None:
            raise self._failure()
        ends = message["kind"] != "session"
        limits = {
            "cpu": math.ceil(self.limits.cpu_seconds) if ends else None,
            "disk": self.limits.disk_bytes,
            "descriptors": _DESCRIPTORS,
        }
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        run = Run(next(self._numbers), collected, future, lambda: self.stop(run, Cause.OUTPUT))
        self._runs[run.number] = run
        try:
            await self._link.send({"op": "run", "id": run.number, "limits": limits, **message}, stdin)
        except BrokenPipeError:
            self._runs.pop(run.number, None)
            raise self._failure() from None
        return run

    async def feed(self, run: Run, body: bytes) -> None:
        """Gives a session its next piece. Raises `SandboxFailed` where the container is gone."""
        try:
            await self._link.send({"op": "feed", "id": run.number}, body)
        except BrokenPipeError:
            raise self._failure() from None

    def signal(self, number: int, sign: int) -> None:
        """Sends a signal to all of an execution's processes."""
        self._link.post({"op": "signal", "id": number, "signal": sign})

    def forget(self, number: int) -> None:
        """An execution is over for whoever waited; if it is not in truth, it is ended."""
        run = self._runs.pop(number, None)
        if run is not None and not run.ended.done():
            self.signal(number, signal.SIGKILL)

    def stop(self, run: Run, cause: Cause) -> None:
        """Ends an execution; if the agent does not, the container."""
        if run.stopped is None and run.number in self._runs:
            run.stopped = cause
            self.signal(run.number, signal.SIGKILL)
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._give_up, run.number)

    async def count(self) -> Counted:
        """What the container has used so far. Raises `SandboxFailed` where it is gone."""
        number = next(self._numbers)
        counted: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
        self._counts[number] = counted
        self._link.post({"op": "count", "id": number})
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                return await counted
        except TimeoutError:
            raise self._failure() from None
        finally:
            self._counts.pop(number, None)

    async def explain(self, ended: Ended, stopped: Cause | None) -> Cause:
        """Why an execution ended. Raises `SandboxFailed` where it was the container that did."""
        if (known := stopped or cause_of(ended, self.limits)) is not None:
            return known
        if ended.code is None:
            raise self._failure()
        before, self._seen = self._seen, await self.count()
        if self._seen.oom > before.oom:
            return Cause.OOM
        if self._seen.refused > before.refused:
            return Cause.PIDS
        return Cause.DISK if ended.full else Cause.PROGRAM_ERROR

    def result(self, ended: Ended, cause: Cause, collected: Collected, began: float, wall: float) -> ExecResult:
        """What came of an execution that began then and had `wall` seconds."""
        usage = Usage(time.perf_counter() - began, ended.cpu_seconds, ended.peak_memory_bytes)
        message = sentence(cause, self.limits, wall)
        return ExecResult(cause, ended.code, *collected.outputs(), usage, self.isolation, message)

    # Inside.

    async def _files(self, what: str, arguments: Mapping[str, object], stdin: bytes = b"") -> ExecResult:
        message = {"kind": "files", "what": what, "arguments": arguments}
        room = 4 * self.limits.disk_bytes + 2**20
        result = await self._execute(message, stdin, None, None, output_bytes=room)
        if not result.ok:
            raise SandboxFileError(result.stderr.text or f"{what} {result.message}")
        return result

    async def _execute(
        self,
        message: Mapping[str, Any],
        stdin: bytes,
        wall_seconds: float | None,
        on_output: OnOutput | None,
        output_bytes: int | None = None,
    ) -> ExecResult:
        """Runs one program to its end, with every limit watched."""
        began = time.perf_counter()
        wall = min(wall_seconds or math.inf, self.limits.wall_seconds)
        collected = Collected(output_bytes or self.limits.output_bytes, on_output)
        run = await self.start(message, stdin, collected)
        try:
            async with watched(self.limits, wall, self._cpu_seconds, functools.partial(self.stop, run)):
                ended = await asyncio.shield(run.ended)  # who stops waiting must not make it look ended
        finally:
            self.forget(run.number)
        return self.result(ended, await self.explain(ended, run.stopped), collected, began, wall)

    async def _cpu_seconds(self) -> float:
        return (await self.count()).cpu

    def _give_up(self, number: int) -> None:
        """The agent does not obey: closing its stream ends the container."""
        if number in self._runs:
            self._link.finish()

    def _note_killed(self) -> None:
        for run in self._runs.values():
            run.stopped = run.stopped or Cause.KILLED

    async def _remove(self) -> None:
        if self.container is not None:
            with contextlib.suppress(SandboxFailed):
                await self._backend.engine.remove(self.container)

    def _heard(self, header: Header, payload: bytes) -> None:
        match header:
            case {"ready": _}:
                self._ready.set()
            case {"quiet": _}:
                self._quiet.set()
            case {"counted": number, **counts}:
                future = self._counts.get(number)
                if future is not None and not future.done():
                    future.set_result(Counted(**counts))
            case {"out": number, "stream": "reply"} if number in self._runs:
                for code in payload:
                    self._runs[number].replies.put_nowait(code)
            case {"out": number, "stream": stream} if number in self._runs:
                run = self._runs[number]
                if not run.collected.add(Stream(stream), payload):
                    run.on_flood()
            case {"refused": number, "error": error} if number in self._runs:
                self._finish(self._runs[number], Ended(None, refusal=error))
            case {"ended": number, "code": code, "cpu": cpu, "peak": peak, "full": full} if number in self._runs:
                self._finish(self._runs[number], Ended(code, cpu, peak, full))

    def _finish(self, run: Run, ended: Ended) -> None:
        if not run.ended.done():
            run.ended.set_result(ended)
        run.replies.put_nowait(None)

    def _lost(self) -> None:
        """The container has ended, and everything in it."""
        self._end = self._end or "its first process ended"
        self._ended.set()
        self._quiet.set()
        for run in list(self._runs.values()):
            self._finish(run, Ended(None))
        for counted in self._counts.values():
            if not counted.done():
                counted.set_exception(self._failure())

    def _failure(self) -> SandboxFailed:
        end = self._end or "it does not answer"
        nothing = ExecResult(Cause.INFRA, None, Output(), Output(), Usage(), self.isolation, end)
        return SandboxFailed(f"the sandbox {self.id} is gone: {end}", nothing)
