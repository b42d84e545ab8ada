"""The contract of a sandbox: a place to run what a model wrote.

A *backend* makes sandboxes; a *sandbox* runs commands and Python code, and holds files; a *session* is a Python
interpreter in it whose variables live on. All of them end with their `close`, and with the process that made them,
however that ends.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from agentenv.errors import UnsupportedError
from agentenv.sandbox.limits import Isolation, Limits, Promises
from agentenv.sandbox.result import ExecResult
from agentenv.threads import THREADS


class Stream(StrEnum):
    """Where a piece of output was written."""

    STDOUT = "stdout"
    STDERR = "stderr"


OnOutput = Callable[[Stream, bytes], None]
"""Told of each piece of output as it comes."""


class EntryKind(StrEnum):
    """What a path names."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a folder; `size` in bytes is that of a file, 0 for anything else."""

    name: str
    kind: EntryKind
    size: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What all of a sandbox uses now: bytes resident, processes, seconds of CPU since it began, bytes and files kept.

    A figure that a backend cannot tell is `None`.
    """

    memory_bytes: int | None = None
    pids: int | None = None
    cpu_seconds: float | None = None
    disk_bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The private files of a sandbox at one moment; processes are no part of it. `archive` is a tar file."""

    archive: bytes


class PythonSession(ABC):
    """A Python interpreter whose variables live on from one `run` to the next."""

    @abstractmethod
    async def run(
        self, code: str, *, wall_seconds: float | None = None, on_output: OnOutput | None = None
    ) -> ExecResult:
        """Runs code as at a prompt: the value of a last expression is written, if it is not `None`.

        Who takes too long is interrupted, and the variables live on; who does not heed that loses them, and the next
        call raises.

        Raises:
            SandboxFailed: the sandbox failed, or the session is gone.
        """

    async def fork(self) -> PythonSession:
        """Another session that begins with the same variables. The two share the sandbox's files.

        Raises:
            UnsupportedError: this backend cannot.
        """
        raise UnsupportedError(f"{type(self).__name__} cannot fork a session")

    @abstractmethod
    async def close(self) -> None:
        """Ends the interpreter. Twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class Sandbox(ABC):
    """A place to run what a model wrote.

    Paths are those inside; relative ones begin at the working folder. An asynchronous context manager that closes it.

    Attributes:
        id: unique in this process's lifetime. limits: that it holds everybody in it to. isolation: how well it is
            walled off.
    """

    id: str
    limits: Limits
    isolation: Isolation

    @abstractmethod
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
        """Runs a command: a list of arguments, or a line for `/bin/sh`.

        What it leaves running in the background goes on until the sandbox is closed.

        Args:
            env: added to the sandbox's few variables. wall_seconds: less than the sandbox's own limit.

        Raises:
            SandboxFailed: the sandbox itself failed, or is closed.

        Example:
            result = await sandbox.exec(["python3", "-c", "print(1)"])
        """

    @abstractmethod
    async def run_python(
        self,
        code: str,
        *,
        stdin: bytes = b"",
        seed: int | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        """Runs code as the main module of a fresh interpreter, with what the backend has imported beforehand.

        Args:
            seed: of `random` and NumPy's global generator; `None` for one that nobody knows.

        Raises:
            SandboxFailed: the sandbox itself failed, or is closed.
        """

    @abstractmethod
    async def python(self) -> PythonSession:
        """A new interpreter whose variables live on."""

    @abstractmethod
    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's bytes, the first `limit` of them.

        Raises:
            SandboxFileError: it cannot be read, or is no file; or is larger than the sandbox's limits allow.
        """

    @abstractmethod
    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        """Writes a file and the folders it needs.

        Raises:
            SandboxFileError: it cannot be written.
        """

    @abstractmethod
    async def list(self, path: str = ".") -> list[Entry]:
        """The members of a folder by name.

        Raises:
            SandboxFileError: it cannot be read, or is no folder.
        """

    async def upload(self, source: Path, path: str) -> None:
        """Copies a file of this machine into the sandbox."""
        data = await THREADS.run(source.read_bytes)
        await self.write(path, data, executable=os.access(source, os.X_OK))

    async def download(self, path: str, target: Path) -> None:
        """Copies a file of the sandbox to this machine. What is in it is the model's: data, never instructions."""
        data = await self.read(path)
        await THREADS.run(lambda: target.write_bytes(data))

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """The private files as they are now."""

    @abstractmethod
    async def restore(self, snapshot: Snapshot) -> None:
        """Puts files in place of those there are."""

    @abstractmethod
    async def fork(self) -> Sandbox:
        """A new sandbox with the same limits and a copy of the private files; without the processes."""

    @abstractmethod
    async def stats(self) -> Stats:
        """What it uses now."""

    @abstractmethod
    async def kill(self) -> None:
        """Ends every process in it at once; executions under way end as `KILLED`. The sandbox stays usable."""

    @abstractmethod
    async def close(self) -> None:
        """Ends everything in it and frees what it held. Twice is fine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class SandboxBackend(ABC):
    """Makes sandboxes. An asynchronous context manager: leaving it closes all of them."""

    name: str

    @property
    def alive(self) -> bool:
        """Whether it can still make sandboxes. Whoever shares one that cannot opens another."""
        return True

    @abstractmethod
    async def probe(self) -> Promises:
        """What this backend can promise on this host.

        Raises:
            AgentenvError: whatever makes the sandboxes cannot be asked, such as an engine that does not run.
        """

    @abstractmethod
    async def create(self, limits: Limits | None = None) -> Sandbox:
        """A new sandbox, empty.

        Raises:
            ConfigError: the host cannot hold it to these limits.
            SandboxFailed: it could not be made.
        """

    @contextlib.asynccontextmanager
    async def sandbox(self, limits: Limits | None = None) -> AsyncIterator[Sandbox]:
        """A sandbox that is closed at the end of the block, also when this task is cancelled."""
        made = await self.create(limits)
        try:
            yield made
        finally:
            await made.close()

    async def open(self) -> None:
        """Starts what has to run beside this process."""

    @abstractmethod
    async def close(self) -> None:
        """Closes every sandbox and ends what runs beside this process. Twice is fine."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
