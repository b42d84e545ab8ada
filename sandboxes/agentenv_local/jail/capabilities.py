"""Giving up every privilege a process has, for itself and whatever it starts."""

from __future__ import annotations

import contextlib
import ctypes
import struct

from agentenv_local.jail import libc

_VERSION_3 = 0x20080522
_MOST = 64
_CLEAR_AMBIENT = 4


def drop_all() -> None:
    """Empties the bounding, ambient, permitted, effective and inheritable sets, and forbids to gain any by `exec`."""
    for capability in range(_MOST):
        with contextlib.suppress(OSError):  # beyond the kernel's last one
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
    libc.prctl(libc.PR_CAP_AMBIENT, _CLEAR_AMBIENT)
    header = ctypes.create_string_buffer(struct.pack("Ii", _VERSION_3, 0))
    libc.syscall("capset", header, ctypes.create_string_buffer(24))
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
