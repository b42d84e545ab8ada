"""Finding what a sandbox has started: every process inherits a variable that names the sandbox and its maker."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "AGENTENV_SUBPROCESS_SANDBOX"
_PREFIX = "agentenv-subprocess"
_NAME = re.compile(rf"{_PREFIX}-(\d+)-(\d+)-\w+")


def make_folder() -> Path:
    """A new folder whose name is the mark: of this process, and when it began."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-{_started(os.getpid())}-"))


def end(mark: str) -> None:
    """Ends every process that has a mark, also those that left their group and session."""
    _end(lambda found: found == mark)


def sweep() -> None:
    """Ends the processes and removes the folders of makers that are gone."""
    _end(_is_stale)
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*"):
        if _is_stale(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def count(mark: str) -> int:
    """How many processes have a mark."""
    return len(_found(lambda found: found == mark))


def _end(wanted: Callable[[str], bool]) -> None:
    while pids := _found(wanted):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _found(wanted: Callable[[str], bool]) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            marks = [each.partition(b"=")[2].decode() for each in variables if each.startswith(f"{VARIABLE}=".encode())]
            if int(name) != os.getpid() and any(map(wanted, marks)) and not _is_dead(name):
                found.append(int(name))
    return found


def _is_dead(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def _is_stale(mark: str) -> bool:
    maker = _NAME.fullmatch(mark)
    return maker is not None and _started(int(maker[1])) != int(maker[2])


def _started(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0
