"""Looking at the process from outside: its global generators, and where a thread is stuck."""

from __future__ import annotations

import os
import random
import sys
import sysconfig
from collections.abc import Hashable
from pathlib import Path
from types import FrameType
from typing import Any

_STANDARD = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple({sysconfig.get_paths()[name] for name in ("purelib", "platlib")})
_CORE = str(Path(__file__).parents[1])


def global_generators() -> tuple[Hashable, ...]:
    """The states of `random` and, where NumPy is loaded, its legacy generator; equal when nobody drew or seeded."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return (random.getstate(),)
    name, keys, *rest = numpy.random.get_state()
    return random.getstate(), (name, keys.tobytes(), *rest)


def touched(before: tuple[Hashable, ...], after: tuple[Hashable, ...]) -> str:
    """Which generators differ, in words; `""` for none. One that was loaded in between does not count."""
    names = ("random", "numpy.random")
    return " and ".join(name for name, one, other in zip(names, before, after, strict=False) if one != other)


def seed_generators(seed: int) -> None:
    """Puts the global generators where every play shall find them."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)


def save_generators() -> Any:
    numpy = sys.modules.get("numpy")
    return random.getstate(), None if numpy is None else numpy.random.get_state()


def restore_generators(saved: Any) -> None:
    ours, numpys = saved
    random.setstate(ours)
    if numpys is not None:
        sys.modules["numpy"].random.set_state(numpys)


class QueueClock:
    """How long this thread has been ready to run while the machine was busy with others: no fault of its code.

    Linux counts it per thread (`/proc/thread-self/schedstat`, second number, nanoseconds); elsewhere it reads 0.
    """

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._file = None

    def seconds(self) -> float:
        if self._file is None:
            return 0.0
        return int(os.pread(self._file, 96, 0).split()[1]) * 1e-9

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def place(frame: FrameType | None, sources: frozenset[str]) -> str:
    """`file:line in function` of the frame to blame: the environment's own file, else the innermost that is neither
    agentenv's nor Python's, preferring what is not an installed package."""
    stack = []
    while frame is not None:
        stack.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    if not stack:
        return "unknown"

    def foreign(path: str) -> bool:
        return not path.startswith((_CORE + os.sep, "<")) and (
            path.startswith(_INSTALLED) or not path.startswith(_STANDARD)
        )

    candidates = (
        [entry for entry in stack if entry[0] in sources],
        [entry for entry in stack if foreign(entry[0]) and not entry[0].startswith(_INSTALLED)],
        [entry for entry in stack if foreign(entry[0])],
        stack,
    )
    path, line, name = next(entries[0] for entries in candidates if entries)
    return f"{Path(path).name}:{line} in {name}"
