"""Rules on files that bind a process and whatever it starts, whoever it is (Landlock, since Linux 5.13)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from agentenv_local.jail import libc

_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
_FOLDERS_ONLY = _READ_FOLDER | 0b1_1111_1111_0000 | 1 << 13
_ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11
_SCOPES = 0b11
"""No abstract sockets of, and no signals to, processes outside."""

_QUERY_VERSION = 1
_PATH_BENEATH = 1


def version() -> int:
    """Of the kernel's Landlock; 0 where there is none."""
    try:
        return libc.syscall("landlock_create_ruleset", None, 0, _QUERY_VERSION)
    except OSError:
        return 0


def restrict(*, readable: Sequence[str], writable: Sequence[str], tcp: bool) -> None:
    """Lets this process read and execute below some paths, do anything below others, and nothing elsewhere.

    Needs `no_new_privs`. What a kernel's version does not know of is left out: ask `version` for what it can.

    Args:
        tcp: whether ports may be bound and connected to.
    """
    known = version()
    everything = max(bits for since, bits in _ALL_BY_VERSION.items() if since <= known)
    net = _TCP if known >= 4 and not tcp else 0
    attributes = struct.pack("QQQ", everything, net, _SCOPES if known >= 6 else 0)[: _size(known)]
    rules = libc.syscall("landlock_create_ruleset", ctypes.create_string_buffer(attributes), len(attributes), 0)
    try:
        for paths, access in ((readable, _READ), (writable, everything)):
            for path in paths:
                _allow(rules, path, access & everything)
        libc.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _size(known: int) -> int:
    return 24 if known >= 6 else 16 if known >= 4 else 8


def _allow(rules: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            access &= ~_FOLDERS_ONLY
        beneath = ctypes.create_string_buffer(struct.pack("=Qi", access, descriptor))
        libc.syscall("landlock_add_rule", rules, _PATH_BENEATH, beneath, 0)
    finally:
        os.close(descriptor)
