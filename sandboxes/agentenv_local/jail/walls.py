"""Walling the calling process off for good, step by step, as far as a host can."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from agentenv_local.jail import capabilities, files, landlock, libc, syscalls

UID = 1000
"""Of the sandbox's user, inside."""

NAMESPACES = (
    libc.CLONE_NEWUSER
    | libc.CLONE_NEWNS
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWNET
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWCGROUP
)

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sandbox is walled off.

    Attributes:
        place: where its private files are. space: what they may take, where they are apart from the host's.
        readable: what it sees of the host.
        uid: of the host's user it is; `None` for this process's own. In a user namespace it is called `UID`.
    """

    place: files.Place
    space: files.Space
    readable: tuple[str, ...]
    uid: int | None


class StepFailed(OSError):
    """The kernel refused one step; the message names it."""


def divide() -> None:
    """New namespaces for this process, the process namespace for its children. Its user has no number in them yet."""
    _step("namespaces", lambda: libc.unshare(NAMESPACES))


def name_user(pid: int, uid: int, gid: int) -> None:
    """Says, from outside, which user and group of the host the sandbox's are."""
    if os.geteuid() != 0:
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", f"{UID} {uid} 1")
    _write(f"/proc/{pid}/gid_map", f"{UID} {gid} 1")


def wall_off(plan: Plan) -> None:
    """Everything else, in the process that is number 1 in its namespace. There is no way back."""
    sources: list[files.Source] = []
    _step("files of the host", lambda: sources.extend(map(files.Source.open, plan.readable)))
    if os.geteuid() != UID:
        _step("user", lambda: become_user(UID))
    _step("files", lambda: files.enter(plan.space, uid=UID, sources=sources))
    _step("host name", lambda: socket.sethostname("sandbox"))
    _step("loopback", _raise_loopback)
    _step("privileges", capabilities.drop_all)
    if landlock.version():
        writable = [*files.WRITABLE, "/dev", "/proc"]
        _step("file rules", lambda: landlock.restrict(readable=["/"], writable=writable, tcp=True))
    _step("system calls", lambda: syscalls.filter_calls(syscalls.Rules()))
    libc.prctl(libc.PR_SET_DUMPABLE, 0)


def confine(plan: Plan) -> None:
    """What can be done in the host's own namespaces, in a process that is about to run a program. No way back.

    Sockets are refused altogether: the host's network, and its services behind sockets in files, are in sight.
    """
    if plan.uid is not None:
        uid = plan.uid
        _step("user", lambda: become_user(uid))
    else:
        with contextlib.suppress(PermissionError):  # whoever may not give up groups has none that root would
            os.setgroups([])
    _step("privileges", capabilities.drop_all)
    if landlock.version():
        writable = [*(root for _, root in plan.place.roots), *files.devices()]
        _step("file rules", lambda: landlock.restrict(readable=plan.readable, writable=writable, tcp=False))
    _step("system calls", lambda: syscalls.filter_calls(syscalls.WITHOUT_NETWORK_NAMESPACE))


def become_user(uid: int) -> None:
    """The user and group of this number, and no other group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _UP))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _step(name: str, take: Callable[[], object]) -> None:
    try:
        take()
    except OSError as error:
        raise StepFailed(error.errno, f"{name}: {error}") from error
