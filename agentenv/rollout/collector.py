"""Fewer garbage collections while many episodes are alive."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_THRESHOLD = 50_000

_lock = threading.Lock()
_users = 0
_before = (0, 0, 0)


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Raises the process's threshold of the youngest generation to 50,000 objects, and puts it back afterwards.

    At Python's default of 700 the collector keeps walking through waiting episodes, which hold about a hundred
    objects each: at 10,000 of them it takes three quarters of the CPU time, and the cost of an episode grows with
    their number. A threshold that is higher, or 0 (no collections), is left alone.
    """
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < _THRESHOLD:
                gc.set_threshold(_THRESHOLD, *_before[1:])
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                gc.set_threshold(*_before)
