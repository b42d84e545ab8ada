"""Limits on all processes of a sandbox together, by control groups of either version."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentenv_local.jail import names

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "pids", "cpuacct")
_MAKERS = f"{names.PREFIX}-makers"
_TRIES = 10
"""Processes may begin while the others are moved."""
_FAIRNESS = "cpu"
"""All of a sandbox's processes together get what one process of the host gets, where this controller is there."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a group has used: bytes now and at most, times the memory ran out, processes now, times one was refused,
    seconds of CPU. What cannot be read is 0."""

    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    out_of_memory: int = 0
    pids: int = 0
    refused_pids: int = 0
    cpu_seconds: float = 0.0


class Group(Protocol):
    """A control group of one sandbox; `folders` are where the kernel shows it."""

    @property
    def folders(self) -> tuple[Path, ...]: ...

    def count(self) -> Counted:
        """What it has used so far."""


class Groups(Protocol):
    """Where groups are made, of one version; `parents` are the folders they appear in."""

    version: int

    @property
    def parents(self) -> tuple[Path, ...]: ...

    def make(self, *, memory_bytes: int, pids: int) -> Group:
        """An empty group with limits."""


def find() -> Groups:
    """The control groups of this host that this process may make groups in; of version 0 where there are none."""
    try:
        groups = _find()
        remove(groups.make(memory_bytes=2**20, pids=1))
    except (OSError, StopIteration):
        return _None()
    return groups


def _find() -> Groups:
    if (_ROOT / "cgroup.controllers").exists():
        return _Unified(_ROOT)
    folders = {name: _own_folder(name) for name in _CONTROLLERS}
    with contextlib.suppress(FileNotFoundError):
        folders[_FAIRNESS] = _own_folder(_FAIRNESS)
    return _Separate(folders)


def join(group: Group, pid: int) -> None:
    """Puts a process, and whatever it will start, into a group."""
    for folder in group.folders:
        (folder / "cgroup.procs").write_text(str(pid))


def remove(group: Group, seconds: float = 1.0) -> None:
    """Removes a group whose processes are gone, or about to be."""
    deadline = time.monotonic() + seconds
    for folder in group.folders:
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)


def sweep() -> int:
    """Removes groups whose maker is gone and which are empty; says how many. They name the process that made them."""
    removed = 0
    with contextlib.suppress(OSError):
        for folder in find().parents:
            for stale in folder.glob(f"{names.PREFIX}-*"):
                if names.is_stale(stale.name):
                    with contextlib.suppress(OSError):
                        stale.rmdir()
                        removed += 1
    return removed


def _own_folder(controller: str) -> Path:
    """Where this process is in a controller's tree."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            folder = next(_ROOT / each for each in (names, controller) if (_ROOT / each).is_dir())
            own = folder / path.lstrip("/")
            return own if own.is_dir() else folder
    raise FileNotFoundError(f"the control groups have no {controller}")


class _None:
    """No groups: nothing is limited together, and nothing is counted."""

    version = 0
    parents: tuple[Path, ...] = ()

    def make(self, *, memory_bytes: int, pids: int) -> Group:
        return _NoGroup()


class _NoGroup:
    folders: tuple[Path, ...] = ()

    def count(self) -> Counted:
        return Counted()


class _Separate:
    """Version 1: a tree for each controller."""

    version = 1

    def __init__(self, folders: dict[str, Path]) -> None:
        self.parents = tuple(folders.values())
        self._folders = folders

    def make(self, *, memory_bytes: int, pids: int) -> Group:
        name = names.fresh()
        made = {controller: folder / name for controller, folder in self._folders.items()}
        try:
            for folder in made.values():
                folder.mkdir(exist_ok=True)  # two controllers may share a tree
            memory = made["memory"]
            (memory / "memory.limit_in_bytes").write_text(str(memory_bytes))
            swap = memory / "memory.memsw.limit_in_bytes"
            if swap.exists():
                swap.write_text(str(memory_bytes))
            (made["pids"] / "pids.max").write_text(str(pids))
        except OSError:
            _discard(made.values())
            raise
        return _SeparateGroup(made)


class _SeparateGroup:
    def __init__(self, made: dict[str, Path]) -> None:
        self.folders = tuple(made.values())
        self._memory, self._pids, self._cpu = made["memory"], made["pids"], made["cpuacct"]

    def count(self) -> Counted:
        return Counted(
            memory_bytes=_number(self._memory / "memory.usage_in_bytes"),
            peak_memory_bytes=_number(self._memory / "memory.max_usage_in_bytes"),
            out_of_memory=_field(self._memory / "memory.oom_control", "oom_kill"),
            pids=_number(self._pids / "pids.current"),
            refused_pids=_field(self._pids / "pids.events", "max"),
            cpu_seconds=_number(self._cpu / "cpuacct.usage") / 1e9,
        )


class _Unified:
    """Version 2: one tree. A group that hands controllers on to others may hold no process itself, unless it is the
    root of all: those that are there, this one among them, are put into a group beside the sandboxes'."""

    version = 2

    def __init__(self, root: Path) -> None:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        own = root / line[3:].strip().lstrip("/")
        self._own = own.parent if own.name == _MAKERS else own
        self.parents = (self._own,)

    def make(self, *, memory_bytes: int, pids: int) -> Group:
        self._hand_on()
        folder = self._own / names.fresh()
        try:
            folder.mkdir()
            (folder / "memory.max").write_text(str(memory_bytes))
            swap = folder / "memory.swap.max"
            if swap.exists():
                swap.write_text("0")
            (folder / "pids.max").write_text(str(pids))
        except OSError:
            _discard([folder])
            raise
        return _UnifiedGroup(folder)

    def _hand_on(self) -> None:
        """Lets groups in here have limits."""
        handed_on = self._own / "cgroup.subtree_control"
        wanted = {"memory", "pids"}
        if _FAIRNESS in (self._own / "cgroup.controllers").read_text().split():
            wanted.add(_FAIRNESS)
        missing = wanted - set(handed_on.read_text().split())
        if not missing:
            return
        controllers = " ".join(f"+{name}" for name in sorted(missing))
        for _ in range(_TRIES):
            try:
                handed_on.write_text(controllers)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                self._move_aside()
            else:
                return
        raise OSError(errno.EBUSY, f"processes go on beginning in {self._own}")

    def _move_aside(self) -> None:
        inner = self._own / _MAKERS
        inner.mkdir(exist_ok=True)
        for pid in (self._own / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (inner / "cgroup.procs").write_text(pid)


class _UnifiedGroup:
    def __init__(self, folder: Path) -> None:
        self.folders = (folder,)
        self._folder = folder

    def count(self) -> Counted:
        return Counted(
            memory_bytes=_number(self._folder / "memory.current"),
            peak_memory_bytes=_number(self._folder / "memory.peak"),
            out_of_memory=_field(self._folder / "memory.events", "oom_kill"),
            pids=_number(self._folder / "pids.current"),
            refused_pids=_field(self._folder / "pids.events", "max"),
            cpu_seconds=_field(self._folder / "cpu.stat", "usage_usec") / 1e6,
        )


def _discard(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _field(file: Path, name: str) -> int:
    """A figure in a file of lines of the form `name figure`."""
    try:
        return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == name)
    except (OSError, StopIteration, IndexError, ValueError):
        return 0
