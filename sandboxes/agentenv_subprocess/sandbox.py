"""A folder, and plain processes that begin in it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import os
import shutil
import signal
import stat
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

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
from agentenv.sandbox.parts import argv_of, copy_of
from agentenv.sandbox.pipes import Pipes
from agentenv.threads import THREADS
from agentenv_subprocess import marks

if TYPE_CHECKING:
    from agentenv_subprocess.backend import SubprocessSandboxes

T = TypeVar("T")

RUNNER = str(Path(__file__).with_name("runner.py"))
_CANNOT_RUN = 126


class SubprocessSandbox(Sandbox):
    """Not isolated: made by `SubprocessSandboxes`. Files are below a folder of the host's, and paths are the host's."""

    isolation = Isolation.NONE

    def __init__(self, number: int, limits: Limits, folder: Path, backend: SubprocessSandboxes) -> None:
        self.id = f"subprocess-{os.getpid()}-{number}"
        self.limits = limits
        self._folder = folder
        self._work = folder / "work"
        self._backend = backend
        self._running: dict[asyncio.subprocess.Process, Cause | None] = {}
        self._closed = False

    @classmethod
    async def make(cls, number: int, limits: Limits, backend: SubprocessSandboxes) -> SubprocessSandbox:
        """A new folder.

        Raises:
            SandboxFailed: it could not be made.
        """

        def prepare() -> Path:
            folder = marks.make_folder()
            for name in ("work", "home", "tmp"):
                (folder / name).mkdir()
            return folder

        try:
            folder = await THREADS.run(prepare)
        except OSError as error:
            raise SandboxFailed(f"no folder could be made for a sandbox: {error}") from error
        return cls(number, limits, folder, backend)

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
        program = _in_memory(json.dumps({"code": code, "seed": seed}).encode())
        try:
            argv = [sys.executable, "-I", RUNNER, "main", str(program)]
            return await self._execute(argv, stdin, wall_seconds, on_output, pass_fds=(program,))
        finally:
            os.close(program)

    async def python(self) -> PythonSession:
        from agentenv_subprocess.session import SubprocessSession

        return await SubprocessSession.start(self)

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        def read(found: Path) -> bytes:
            descriptor = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(0, "it is no file")
                return file.read(-1 if limit is None else limit)

        return await self._with_file(path, read)

    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        def write(found: Path) -> None:
            found.parent.mkdir(parents=True, exist_ok=True)
            found.write_bytes(data)
            found.chmod(0o755 if executable else 0o644)

        await self._with_file(path, write)

    async def list(self, path: str = ".") -> list[Entry]:
        return await self._with_file(path, lambda found: sorted(map(_entry, os.scandir(found)), key=lambda e: e.name))

    async def snapshot(self) -> Snapshot:
        def pack(found: Path) -> bytes:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as archive:
                archive.add(found, arcname=".", filter=lambda member: None if member.isdev() else member)
            return packed.getvalue()

        return Snapshot(await self._with_file(str(self._folder), pack))

    async def restore(self, snapshot: Snapshot) -> None:
        def unpack(found: Path) -> None:
            for folder in found.iterdir():
                shutil.rmtree(folder)
            with tarfile.open(fileobj=io.BytesIO(snapshot.archive)) as archive:
                archive.extractall(found, filter="tar")

        await self._with_file(str(self._folder), unpack)

    async def fork(self) -> SubprocessSandbox:
        return await copy_of(self, self._backend.create)

    async def stats(self) -> Stats:
        def measure(found: Path) -> tuple[int, int]:
            sizes = [path.lstat().st_size for path in found.rglob("*")]
            return sum(sizes), len(sizes)

        used, files = await self._with_file(str(self._folder), measure)
        return Stats(pids=await THREADS.run(lambda: marks.count(self._folder.name)), disk_bytes=used, files=files)

    async def kill(self) -> None:
        self.check_open()
        await self._end(Cause.KILLED)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._backend.forget(self)
        await self._end(Cause.KILLED)
        await THREADS.run(lambda: shutil.rmtree(self._folder, ignore_errors=True))

    # What a session calls too.

    def check_open(self) -> None:
        """Raises `SandboxFailed` for a sandbox that was closed."""
        if self._closed:
            nothing = ExecResult(Cause.INFRA, None, Output(), Output(), Usage(), self.isolation, "it was closed")
            raise SandboxFailed(f"the sandbox {self.id} is gone: it was closed", nothing)

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a program finds in its own: nothing of this process's, and the mark by which it is found."""
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        own = {"PATH": path, "HOME": str(self._folder / "home"), "TMPDIR": str(self._folder / "tmp"), "LANG": "C.UTF-8"}
        return own | dict(env or {}) | {marks.VARIABLE: self._folder.name}

    @property
    def work(self) -> Path:
        """The working folder."""
        return self._work

    def limited(self, argv: Sequence[str], *, ends: bool = True) -> tuple[str, ...]:
        """A command that limits itself and what it starts, each process alone; a session's CPU is that of many runs."""
        limits = self.limits
        bounds = [f"--as={limits.memory_bytes}", f"--fsize={limits.disk_bytes}"]
        if ends:
            bounds.append(f"--cpu={(seconds := math.ceil(limits.cpu_seconds))}:{seconds + 1}")
        return ("prlimit", *bounds, "--", *argv)

    def result(self, code: int | None, cause: Cause, pipes: Pipes, began: float, wall: float) -> ExecResult:
        """What came of an execution that began then and had `wall` seconds."""
        usage = Usage(time.perf_counter() - began)
        return ExecResult(cause, code, *pipes.outputs(), usage, self.isolation, sentence(cause, self.limits, wall))

    # Inside.

    async def _execute(
        self,
        argv: Sequence[str],
        stdin: bytes,
        wall_seconds: float | None,
        on_output: OnOutput | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> ExecResult:
        self.check_open()
        began, stopped = time.perf_counter(), asyncio.Event()
        wall = min(wall_seconds or math.inf, self.limits.wall_seconds)
        pipes = Pipes(self.limits.output_bytes, on_output, stopped.set)
        given = _in_memory(stdin)
        try:
            out, err = pipes.hand_over()
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.limited(argv),
                    stdin=given,
                    stdout=out,
                    stderr=err,
                    env=self.environment(env),
                    cwd=self._work / (cwd or "."),
                    pass_fds=pass_fds,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                return self._never_began(error, pipes, began, wall)
            finally:
                for descriptor in (given, out, err):
                    os.close(descriptor)
            cause = await self._until_end(process, stopped, wall)
            pipes.drain()
            return self.result(process.returncode, cause, pipes, began, wall)
        finally:
            pipes.close()

    async def _until_end(
        self, process: asyncio.subprocess.Process, flooded: asyncio.Event, wall_seconds: float
    ) -> Cause:
        """Waits for a process, and ends it and its group where a limit is met. Says why it ended."""
        self._running[process] = None
        ended = asyncio.ensure_future(process.wait())
        flood = asyncio.ensure_future(flooded.wait())
        try:
            done, _ = await asyncio.wait((ended, flood), timeout=wall_seconds, return_when=asyncio.FIRST_COMPLETED)
            if ended not in done:
                self._running[process] = Cause.OUTPUT if flood in done else Cause.WALL
        finally:
            flood.cancel()
            if process.returncode is None:
                _end_group(process)
            await ended
            stopped = self._running.pop(process)
        if stopped is not None:
            return stopped
        if process.returncode == -signal.SIGXCPU:
            return Cause.CPU
        return Cause.OK if process.returncode == 0 else Cause.PROGRAM_ERROR

    def _never_began(self, error: Exception, pipes: Pipes, began: float, wall: float) -> ExecResult:
        """There is no such folder to begin in, or an argument that no program can be given."""
        found = self.result(_CANNOT_RUN, Cause.PROGRAM_ERROR, pipes, began, wall)
        return ExecResult(
            found.cause, _CANNOT_RUN, Output(), Output(f"{error}\n".encode()), found.usage, self.isolation
        )

    async def _end(self, cause: Cause) -> None:
        for process in self._running:
            self._running[process] = self._running[process] or cause
        await THREADS.run(lambda: marks.end(self._folder.name))

    async def _with_file(self, path: str, act: Callable[[Path], T]) -> T:
        self.check_open()
        try:
            found: T = await THREADS.run(lambda: act(self._work / path))
        except OSError as error:
            raise SandboxFileError(f"{path}: {error.strerror or error}") from error
        return found


def _end_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _entry(found: os.DirEntry[str]) -> Entry:
    if found.is_file(follow_symlinks=False):
        return Entry(found.name, EntryKind.FILE, found.stat(follow_symlinks=False).st_size)
    return Entry(found.name, EntryKind.FOLDER if found.is_dir(follow_symlinks=False) else EntryKind.OTHER, 0)


def _in_memory(data: bytes) -> int:
    """A descriptor to read these bytes from."""
    descriptor = os.memfd_create("input")
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
