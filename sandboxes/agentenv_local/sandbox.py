"""One local sandbox, seen from this side."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import itertools
import json
import math
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

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
    Usage,
    sentence,
)
from agentenv.sandbox.parts import Ended, argv_of, cause_of, copy_of, watched
from agentenv.sandbox.pipes import Pipes
from agentenv_local import wire
from agentenv_local.channel import Channel
from agentenv_local.jail.cgroups import Counted

_GRACE_SECONDS = 2.0
"""How long the warden may take to end what it was told to; then the whole sandbox is ended from outside."""
_DESCRIPTORS = 256
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Limited(StrEnum):
    """Whom the limits on memory and on processes hold for: all of a sandbox together, each process, or each process and
    all that belong to the sandbox's user."""

    TOGETHER = "together"
    EACH = "each"
    USER = "user"


@dataclass(slots=True)
class Run:
    """An execution under way: the future of its end, and why it was stopped, if it was."""

    number: int
    ended: asyncio.Future[Ended]
    stopped: Cause | None = None


@dataclass(frozen=True, slots=True)
class Keeper:
    """What a sandbox asks of the backend that made it: another like it, what the kernel counts, and its end."""

    create: Callable[[Limits], Awaitable[LocalSandbox]]
    count: Callable[[int], Awaitable[Counted]]
    destroy: Callable[[int], None]


class LocalSandbox(Sandbox):
    """A sandbox on this machine. Made by `LocalSandboxes`.

    Args:
        limited: what memory and the number of processes are limited for.
    """

    def __init__(
        self, number: int, limits: Limits, link: socket.socket, keeper: Keeper, isolation: Isolation, limited: Limited
    ) -> None:
        self.number = number
        self.isolation = isolation
        self._limited = limited
        self.id = f"local-{os.getpid()}-{number}"
        self.limits = limits
        self._keeper = keeper
        self._channel = Channel(link, self._heard, self._lost)
        self.numbers = itertools.count(1)
        self._runs: dict[int, Run] = {}
        self._seen = Counted()
        self._ended, self._quiet = asyncio.Event(), asyncio.Event()
        self._end: str | None = None

    # What a user calls.

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
        return await self._execute({"kind": "python", "code": code, "seed": seed}, stdin, wall_seconds, on_output)

    async def python(self) -> PythonSession:
        from agentenv_local.session import LocalSession

        return await LocalSession.start(self)

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        result = await self._files("read", {"path": path, "limit": limit})
        return result.stdout.data

    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        await self._files("write", {"path": path, "executable": executable}, stdin=data)

    async def list(self, path: str = ".") -> list[Entry]:
        result = await self._files("list", {"path": path})
        return [Entry(name, EntryKind(kind), size) for name, kind, size in json.loads(result.stdout.data)]

    async def snapshot(self) -> Snapshot:
        return Snapshot((await self._files("pack", {})).stdout.data)

    async def restore(self, snapshot: Snapshot) -> None:
        await self._files("unpack", {}, stdin=snapshot.archive)

    async def fork(self) -> LocalSandbox:
        return await copy_of(self, self._keeper.create)

    async def stats(self) -> Stats:
        counts = await self._keeper.count(self.number)
        used, files = json.loads((await self._files("usage", {})).stdout.data)
        return Stats(counts.memory_bytes, max(counts.pids - 1, 0), counts.cpu_seconds, used, files)

    async def kill(self) -> None:
        self._note_killed()
        self._quiet.clear()
        self._tell({"op": "signal"})
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._quiet.wait()
        except TimeoutError:
            self._keeper.destroy(self.number)
            raise SandboxFailed(f"the sandbox {self.id} cannot end its processes, and is ended itself") from None

    async def close(self) -> None:
        self._end = self._end or "it was closed"
        self._note_killed()
        self._channel.finish()  # the warden ends everybody, and then itself
        if not await self._ends():
            self._keeper.destroy(self.number)
            await self._ends()
        self._channel.close()

    def _note_killed(self) -> None:
        for run in self._runs.values():
            run.stopped = run.stopped or Cause.KILLED

    async def _ends(self) -> bool:
        """Waits until every process inside has ended; whether they have, in time."""
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    # What the session and the backend call.

    def start(self, number: int, message: wire.Message, descriptors: Sequence[int]) -> Run:
        """Starts a program on descriptors that are the sandbox's from now on.

        Raises:
            SandboxFailed: the sandbox is gone.
        """
        if self._end is not None:
            for descriptor in descriptors:
                os.close(descriptor)
            raise self._failure()
        run = Run(number, asyncio.get_running_loop().create_future())
        try:
            told = {"op": "run", "id": number, "limits": self._limits(message["kind"] != "session"), **message}
            self._channel.send(told, descriptors)
        except BrokenPipeError:
            raise self._failure() from None
        self._runs[number] = run
        return run

    def forget(self, number: int) -> None:
        """An execution is over for whoever waited; if it is not in truth, it is ended."""
        run = self._runs.pop(number, None)
        if run is not None and (run.ended.cancelled() or not run.ended.done()):  # whoever waited was cancelled
            self.signal(number, signal.SIGKILL)

    def signal(self, number: int, sign: int) -> None:
        """Sends a signal to all of an execution's processes."""
        self._tell({"op": "signal", "id": number, "signal": sign})

    def signal_process(self, pid: int, sign: int) -> None:
        """Sends a signal to the group of a process, by its number inside."""
        self._tell({"op": "signal", "pid": pid, "signal": sign})

    def gone(self, counts: Counted) -> None:
        """The zygote says that the sandbox has ended, and with it everything inside."""
        out_of_memory = counts.out_of_memory > self._seen.out_of_memory
        self._end = self._end or ("its memory ran out" if out_of_memory else "its first process ended")
        self._ended.set()
        self._quiet.set()
        self._channel.close()
        for run in list(self._runs.values()):
            if out_of_memory:
                run.stopped = run.stopped or Cause.OOM
            if not run.ended.done():
                run.ended.set_result(Ended(None))

    async def explain(self, ended: Ended, stopped: Cause | None) -> Cause:
        """Why an execution ended.

        Raises:
            SandboxFailed: it was the sandbox that ended.
        """
        if (known := stopped or cause_of(ended, self.limits)) is not None:
            return known
        if ended.code is None:
            raise self._failure()
        before, self._seen = self._seen, await self._keeper.count(self.number)
        if self._seen.out_of_memory > before.out_of_memory:
            return Cause.OOM
        if self._seen.refused_pids > before.refused_pids:
            return Cause.PIDS
        return Cause.DISK if ended.full else Cause.PROGRAM_ERROR

    # Inside.

    async def _files(self, what: str, arguments: dict[str, object], stdin: bytes = b"") -> ExecResult:
        message = {"kind": "files", "what": what, "arguments": arguments}
        room = 2 * self.limits.disk_bytes + 2**20
        result = await self._execute(message, stdin, None, None, output_bytes=room)
        if not result.ok:
            raise SandboxFileError(result.stderr.text or f"{what} {result.message}")
        return result

    async def _execute(
        self,
        message: wire.Message,
        stdin: bytes,
        wall_seconds: float | None,
        on_output: OnOutput | None,
        output_bytes: int | None = None,
    ) -> ExecResult:
        """Runs one program to its end, with every limit watched."""
        began = time.perf_counter()
        wall = min(wall_seconds or math.inf, self.limits.wall_seconds)
        number = next(self.numbers)
        pipes = Pipes(output_bytes or self.limits.output_bytes, on_output, lambda: self._stop(number, Cause.OUTPUT))
        try:
            run = self.start(number, message, (_input(stdin), *pipes.hand_over()))
            async with watched(self.limits, wall, self._cpu_seconds, functools.partial(self._stop, number)):
                ended = await run.ended
            pipes.drain()
        finally:
            pipes.close()
            self.forget(number)
        cause = await self.explain(ended, run.stopped)
        usage = Usage(time.perf_counter() - began, ended.cpu_seconds, ended.peak_memory_bytes)
        told = sentence(cause, self.limits, wall)
        return ExecResult(cause, ended.code, *pipes.outputs(), usage, self.isolation, told)

    async def _cpu_seconds(self) -> float:
        return (await self._keeper.count(self.number)).cpu_seconds

    def _stop(self, number: int, cause: Cause) -> None:
        """Ends an execution; if its warden does not, the sandbox."""
        run = self._runs.get(number)
        if run is None or run.stopped is not None:
            return
        run.stopped = cause
        self._tell({"op": "signal", "id": number, "signal": signal.SIGKILL})
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._give_up, number)

    def _give_up(self, number: int) -> None:
        if number in self._runs:
            self._keeper.destroy(self.number)

    def _limits(self, ends: bool) -> dict[str, int | None]:
        """What one process may use. A session's processor time is that of many executions."""
        return {
            "cpu": math.ceil(self.limits.cpu_seconds) if ends else None,
            "disk": self.limits.disk_bytes,
            "descriptors": _DESCRIPTORS,
            "memory": None if self._limited is Limited.TOGETHER else self.limits.memory_bytes,
            # They are counted by user, so only a user of the sandbox's own can be limited.
            "pids": self.limits.pids if self._limited is Limited.USER else None,
        }

    def _tell(self, message: wire.Message) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(message)

    def _heard(self, message: wire.Message) -> None:
        if "quiet" in message:
            self._quiet.set()
            return
        how = next(way for way in ("ended", "refused", "broken") if way in message)
        run = self._runs.get(message[how])
        if run is None or run.ended.done():
            return
        if how == "refused":
            run.ended.set_result(Ended(None, refusal=message["error"]))
        elif how == "broken":
            self._end = self._end or f"a program could not be begun: {message['error']}"
            run.ended.set_result(Ended(None))
        else:
            run.ended.set_result(Ended(message["code"], message["cpu"], message["peak"], full=message["full"]))

    def _lost(self) -> None:
        """The warden has ended everybody and itself, or was ended: the zygote will tell the runs how."""
        self._ended.set()

    def _failure(self) -> SandboxFailed:
        nothing = ExecResult(Cause.INFRA, None, Output(), Output(), Usage(), self.isolation, self._end or "")
        return SandboxFailed(f"the sandbox {self.id} is gone: {self._end or 'its first process ended'}", nothing)


def _input(data: bytes) -> int:
    """A descriptor to read these bytes from; nobody can change them."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
