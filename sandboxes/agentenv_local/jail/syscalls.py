"""Refusing system calls with a seccomp filter (classic BPF).

Most of what a program could do with them is already out of its reach: it has no capabilities and sees only its own
namespaces. The filter takes away the kernel's less trodden paths, which is where holes are found, and what no namespace
covers: keyrings, virtual sockets, clocks, other processes' memory.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from agentenv_local.jail import libc

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _RETURN, _EQUAL, _AT_LEAST, _ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24

_NAMESPACES = (
    libc.CLONE_NEWNS
    | libc.CLONE_NEWCGROUP
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWUSER
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWNET
)
_UNIX, _INET, _INET6 = 1, 2, 10
_TYPES_FOR_OTHERS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into a terminal that others read."""

_SINCE_ALL_ARE_NUMBERED_ALIKE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
}  # fmt: skip
REFUSED = {
    "x86_64": _SINCE_ALL_ARE_NUMBERED_ALIKE | {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "mount": 165, "umount2": 166,
        "pivot_root": 155, "chroot": 161, "setns": 308, "unshare": 272, "keyctl": 250, "add_key": 248,
        "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "kexec_load": 246,
        "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
        "open_by_handle_at": 304, "name_to_handle_at": 303, "reboot": 169, "settimeofday": 164, "clock_settime": 227,
        "clock_adjtime": 305, "adjtimex": 159, "swapon": 167, "swapoff": 168, "quotactl": 179, "acct": 163,
        "syslog": 103, "sethostname": 170, "setdomainname": 171, "vhangup": 153, "nfsservctl": 180,
        "lookup_dcookie": 212, "move_pages": 279, "migrate_pages": 256, "fanotify_init": 300, "personality": 135,
        "iopl": 172, "ioperm": 173, "modify_ldt": 154,
    },
    "aarch64": _SINCE_ALL_ARE_NUMBERED_ALIKE | {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "mount": 40, "umount2": 39,
        "pivot_root": 41, "chroot": 51, "setns": 268, "unshare": 97, "keyctl": 219, "add_key": 217,
        "request_key": 218, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "kexec_load": 104,
        "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
        "open_by_handle_at": 265, "name_to_handle_at": 264, "reboot": 142, "settimeofday": 170, "clock_settime": 112,
        "clock_adjtime": 266, "adjtimex": 171, "swapon": 224, "swapoff": 225, "quotactl": 60, "acct": 89,
        "syslog": 116, "sethostname": 161, "setdomainname": 162, "vhangup": 58, "nfsservctl": 42,
        "lookup_dcookie": 18, "move_pages": 239, "migrate_pages": 238, "fanotify_init": 262, "personality": 92,
    },
}  # fmt: skip
LOOKED_INTO = {
    "x86_64": {"clone": 56, "clone3": 435, "socket": 41, "ioctl": 16},
    "aarch64": {"clone": 220, "clone3": 435, "socket": 198, "ioctl": 29},
}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class Rules:
    """What is let through.

    Attributes:
        families: address families of sockets. Virtual sockets and raw packets are in no namespace of their own.
    """

    families: tuple[int, ...] = (_UNIX, _INET, _INET6)


WITHOUT_NETWORK_NAMESPACE = Rules(families=())
"""Pairs of connected sockets can be had, but none that could be bound or connected."""


def known_here() -> bool:
    """Whether system calls of this machine have known numbers."""
    return platform.machine() in REFUSED


def filter_calls(rules: Rules) -> None:
    """Installs the filter, for this process and whatever it starts, for good. Needs `no_new_privs`."""
    code = program(rules, platform.machine())
    instructions = ctypes.create_string_buffer(code, len(code))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions)))
    libc.prctl(libc.PR_SET_SECCOMP, 2, ctypes.addressof(described))


def program(rules: Rules, machine: str) -> bytes:
    """The filter as the kernel takes it: eight bytes an instruction.

    Raises:
        OSError: the machine's system calls are not known.
    """
    if machine not in REFUSED:
        raise OSError(errno.ENOSYS, f"no system call numbers are known for {machine}")
    numbers = LOOKED_INTO[machine]
    refuse = _refuse(errno.EPERM)
    lines = [_load(_ARCHITECTURE), _jump(_EQUAL, _ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(_NUMBER)]
    if machine == "x86_64":
        lines += [_jump(_AT_LEAST, _X32, 0, 1), refuse]
    for number in REFUSED[machine].values():
        lines += [_jump(_EQUAL, number, 0, 1), refuse]
    # The C library falls back on clone, whose flags can be seen.
    lines += [_jump(_EQUAL, numbers["clone3"], 0, 1), _refuse(errno.ENOSYS)]
    lines += _call(numbers["clone"], [_load(_FIRST_ARGUMENT), _jump(_ANY_BIT, _NAMESPACES, 0, 1), refuse])
    known = [_jump(_EQUAL, family, len(rules.families) - place, 0) for place, family in enumerate(rules.families)]
    lines += _call(numbers["socket"], [_load(_FIRST_ARGUMENT), *known, _refuse(errno.EAFNOSUPPORT)])
    typing = [step for kind in _TYPES_FOR_OTHERS for step in (_jump(_EQUAL, kind, 0, 1), refuse)]
    lines += _call(numbers["ioctl"], [_load(_SECOND_ARGUMENT), *typing])
    return b"".join([*lines, _return(_ALLOW)])


def _call(number: int, then: Sequence[bytes]) -> list[bytes]:
    """Steps for one call alone, after which it is allowed."""
    return [_jump(_EQUAL, number, 0, len(then) + 1), *then, _return(_ALLOW)]


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", _LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", test, if_true, if_false, value)


def _return(value: int) -> bytes:
    return struct.pack("HBBI", _RETURN, 0, 0, value)


def _refuse(number: int) -> bytes:
    return _return(_REFUSE | number)
