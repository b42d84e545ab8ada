"""The file system of a sandbox: programs of the host, read-only, and a little of its own that is writable.

/usr, /lib, …, the interpreter           the host's, read-only
/etc                                     a few files that name nobody
/proc, /dev                              its own
/sandbox, /home/sandbox, /tmp, /dev/shm  in memory, limited together, and gone with it
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentenv_local.jail import libc

WORK, HOME = "/sandbox", "/home/sandbox"
WRITABLE = (WORK, HOME, "/tmp", "/var/tmp", "/dev/shm")
_WITHOUT_MOUNTS = (WORK, HOME, "/tmp")

_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "ssl", "mime.types")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_ETC = {
    "passwd": f"sandbox:x:{{uid}}:{{uid}}:sandbox:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "sandbox:x:{uid}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "hostname": "sandbox\n",
}

_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_OWN_INODES = 8
"""Of the private file system's own folders."""


@dataclass(frozen=True, slots=True)
class Space:
    """How much the private files may take: bytes, and how many files and folders there may be."""

    size: int
    files: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sandbox's own files are.

    Attributes:
        roots: where each writable folder really is, by what it is called inside (and in a snapshot): the working
            folder, the home, the folder for temporary files, and whatever else there is.
        apart: whether they are a file system of their own, which holds nothing else and has an end.
    """

    roots: tuple[tuple[str, str], ...]
    apart: bool

    @property
    def work(self) -> str:
        return self.roots[0][1]

    @property
    def variables(self) -> dict[str, str]:
        """What programs have to be told."""
        return {"HOME": self.roots[1][1], "TMPDIR": self.roots[2][1]}


MOUNTED = Place(tuple((path, path) for path in WRITABLE), apart=True)


def place_below(folder: str) -> Place:
    """Folders of a sandbox that cannot have mounts of its own; not made yet."""
    return Place(tuple((path, f"{folder}{path}") for path in _WITHOUT_MOUNTS), apart=False)


@dataclass(frozen=True, slots=True)
class Source:
    """Something of the host that is shown at its own place: opened, unless it is a link.

    It is opened while this process still is who started it: what lies below folders that nobody else may enter, such as
    an interpreter in somebody's home, could not be reached by the sandbox's user.
    """

    path: str
    descriptor: int = -1
    is_folder: bool = False
    link: str | None = None

    @classmethod
    def open(cls, path: str) -> Source:
        if os.path.islink(path):
            return cls(path, link=os.readlink(path))
        return cls(path, os.open(path, os.O_PATH | os.O_CLOEXEC), os.path.isdir(path))


def readable_paths() -> tuple[str, ...]:
    """What of the host a sandbox may read: its programs, and this interpreter with its packages."""
    interpreter = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    outside = sorted(path for path in interpreter if not any(_below(path, program) for program in _PROGRAMS))
    settings = [f"/etc/{name}" for name in _SETTINGS]
    return tuple(path for path in (*_PROGRAMS, *outside, *settings, *devices()) if os.path.lexists(path))


def devices() -> tuple[str, ...]:
    """The few that every program may use."""
    return tuple(path for name in _DEVICES if os.path.exists(path := f"/dev/{name}"))


def enter(space: Space, *, uid: int, sources: Sequence[Source]) -> None:
    """Builds the file system and moves this process into it. Needs mount and process namespaces of its own.

    The host's tree is at /host while the new one is built, so that nothing built hides what is still to be taken from
    it; then it is gone.
    """
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("sandbox", "/tmp", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "size=1m,nr_inodes=4096,mode=755")
    os.mkdir("/tmp/host")
    libc.syscall("pivot_root", b"/tmp", b"/tmp/host")
    os.chdir("/")
    _make_private(space)
    os.makedirs("/etc")
    for name, text in _ETC.items():
        Path("/etc", name).write_text(text.format(uid=uid))
    for source in sources:
        _show(source)
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/proc")
    libc.mount("proc", "/proc", "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    libc.unmount("/host")
    os.rmdir("/host")
    libc.mount("none", "/", flags=libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV)
    os.chdir(WORK)


def _make_private(space: Space) -> None:
    """One file system for all that is writable, so that one limit holds for all of it."""
    os.mkdir("/private")
    options = f"size={space.size},nr_inodes={space.files + _OWN_INODES},mode=755"
    libc.mount("sandbox", "/private", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, options)
    for number, path in enumerate(WRITABLE):
        inside = f"/private/{number}"
        os.mkdir(inside, 0o755)
        os.makedirs(path, exist_ok=True)
        libc.mount(inside, path, flags=libc.MS_BIND)
    libc.unmount("/private")
    os.rmdir("/private")


def _show(source: Source) -> None:
    """A file or folder of the host at its own place, read-only, with whatever is mounted below it."""
    path = source.path
    os.makedirs(path if source.is_folder else os.path.dirname(path), exist_ok=True)
    if source.link is not None:
        os.symlink(source.link, path)
        return
    if not source.is_folder:
        Path(path).touch()
    libc.mount(f"/host/proc/self/fd/{source.descriptor}", path, flags=libc.MS_BIND | libc.MS_REC)
    os.close(source.descriptor)
    flags = _NO_SUID if _below(path, "/dev") else _READ_ONLY | _NO_SUID | _NO_DEVICES
    attributes = struct.pack("QQQQ", flags, 0, 0, 0)
    block = ctypes.create_string_buffer(attributes, len(attributes))
    libc.syscall("mount_setattr", _AT_FDCWD, path.encode(), _AT_RECURSIVE, block, len(attributes))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
