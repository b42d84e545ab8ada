"""What came of one execution in a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentenv.sandbox.limits import Isolation, Limits


class Cause(StrEnum):
    """Why an execution ended. All but `INFRA` are the program's own doing."""

    OK = "ok"
    PROGRAM_ERROR = "program_error"
    WALL = "wall"
    CPU = "cpu"
    OOM = "oom"
    PIDS = "pids"
    OUTPUT = "output"
    DISK = "disk"
    KILLED = "killed"
    INFRA = "infra"


@dataclass(frozen=True, slots=True)
class Output:
    """What was written to one stream.

    Attributes:
        data: the bytes that were kept, from the start. dropped: how many more were read and thrown away.
    """

    data: bytes = b""
    dropped: int = 0

    @property
    def text(self) -> str:
        """As UTF-8, with what is none replaced; says at the end how much is missing."""
        text = self.data.decode("utf-8", "replace")
        return f"{text}\n[{self.dropped:,} bytes more]" if self.dropped else text


@dataclass(frozen=True, slots=True)
class Usage:
    """What an execution used: seconds on the wall and of all cores, and the most bytes resident at a time."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ExecResult:
    """One execution.

    Attributes:
        cause: why it ended. exit_code: of the program; −n where signal n ended it, `None` where it never began.
        isolation: how well it was walled off.
        message: a sentence on the cause for people; empty for `OK`.
    """

    cause: Cause
    exit_code: int | None
    stdout: Output
    stderr: Output
    usage: Usage
    isolation: Isolation
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.cause is Cause.OK


_SENTENCES = {
    Cause.WALL: "took longer than {wall:g} s",
    Cause.CPU: "used more than {limits.cpu_seconds:g} s of CPU",
    Cause.OOM: "needed more than {limits.memory_bytes:,} bytes of memory",
    Cause.PIDS: "wanted more than {limits.pids} processes and threads",
    Cause.OUTPUT: "wrote more than {limits.output_bytes:,} bytes",
    Cause.DISK: "filled the {limits.disk_bytes:,} bytes or {limits.files:,} files there is room for",
    Cause.KILLED: "was ended on request",
}


def sentence(cause: Cause, limits: Limits, wall_seconds: float | None = None) -> str:
    """A sentence on a cause for people, for `ExecResult.message`; empty where there is nothing to add.

    Args:
        wall_seconds: of this execution, where it had less than the sandbox's limit.

    >>> sentence(Cause.WALL, Limits(wall_seconds=2.0))
    'took longer than 2 s'
    """
    wall = limits.wall_seconds if wall_seconds is None else wall_seconds
    return _SENTENCES.get(cause, "").format(limits=limits, wall=wall)
