"""Fewer garbage collections while many episodes are alive."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

Thresholds = tuple[int, int]
"""Objects until the youngest generation is walked, and how often that happens until the middle one is."""

FEW_LOOKS: Thresholds = (50_000, 10)
SHORT_LOOKS: Thresholds = (2_000, 250)

_lock = threading.Lock()
_users = 0
_before = (0, 0, 0)


@contextlib.contextmanager
def rare_collections(thresholds: Thresholds = FEW_LOOKS) -> Iterator[None]:
    """Has the process's collector look less often, and puts its thresholds back afterwards; the first user's hold.

    At Python's defaults it keeps walking through waiting episodes, which hold about a hundred objects each: at 10,000
    of them it takes three quarters of the CPU time, and the cost of an episode grows with their number. `FEW_LOOKS`
    keeps that cost flat. A look stops everything: in a busy gateway those of 50,000 objects took 15 to 20 ms, which its
    slowest calls waited for, those of 5,000 took 2 to 6. `SHORT_LOOKS` are for it; in an engine an episode among 10,000
    costs 1.28 times one among 100 with them. Thresholds that are higher, or 0 (no collections), are left alone.
    """
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < thresholds[0]:
                gc.set_threshold(*thresholds, _before[2])
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                gc.set_threshold(*_before)
