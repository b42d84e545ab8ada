"""The system calls that Python's standard library has no function for."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

_LIBC: Any = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_RDONLY, MS_REMOUNT = 2, 4, 8, 1, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT, PR_SET_SECCOMP = 36, 47, 22

_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126},
    "aarch64": {"pivot_root": 41, "capset": 91},
}
_EVERYWHERE = {
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
"""Calls newer than the agreement to number them alike."""


def unshare(flags: int) -> None:
    _checked("unshare", _LIBC.unshare(ctypes.c_int(flags)))


def prctl(option: int, *arguments: int) -> int:
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(f"prctl({option})", _LIBC.prctl(ctypes.c_int(option), *values))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = _LIBC.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _checked(f"mount {source} on {target}", result)


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _checked(f"umount {target}", _LIBC.umount2(target.encode(), ctypes.c_int(flags)))


def syscall(name: str, *arguments: Any) -> int:
    """A system call by name; integers and ctypes objects are passed on as they are."""
    number = _EVERYWHERE.get(name) or _NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise OSError(38, f"{name} is not known on {platform.machine()}")
    return _checked(name, _LIBC.syscall(ctypes.c_long(number), *(_passed(value) for value in arguments)))


def _passed(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return ctypes.c_void_p(None) if value is None else ctypes.c_long(value)
    return ctypes.c_char_p(value) if isinstance(value, bytes) else value


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)
