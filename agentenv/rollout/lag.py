"""Who blocks the event loop, and for how long: a heartbeat on the loop and a thread that watches it.

Python code that blocks (a `time.sleep`, a synchronous HTTP call, a long loop) stops every episode at once. Nothing
can take the time back, but two things can be done: name the code, and see to it that nobody else is charged for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import selectors
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, Self

_LOG = logging.getLogger("agentenv.rollout")
_PERIOD = 0.05
_WARN_WHILE_BLOCKED = 2.0
_CORE = str(Path(__file__).parent.parent) + os.sep
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclass(frozen=True, slots=True)
class Stall:
    """One time the event loop was not free.

    Attributes:
        where: the call that blocked, e.g. ``"slow-v0.step"``; `None` where no single call did (plain overload, or
            the whole machine was busy).
        code: the line it stood on, as ``"slow.py:12 in step"``; `""` when unknown.
        seconds: how long, beyond the heartbeat's period.
        at: when it was over, in seconds since the epoch.
    """

    where: str | None
    code: str
    seconds: float
    at: float

    def __str__(self) -> str:
        place = f" at {self.code}" if self.code else ""
        return f"{self.where or 'no single call'} blocked the event loop for {self.seconds:.2f} s{place}"


class Culprit(Protocol):
    """A call that can be charged for a stall."""

    @property
    def where(self) -> str: ...

    def charge(self, stall: Stall) -> None: ...


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the loop's thread was doing at one moment of a stall."""

    time: float
    task: asyncio.Task[object] | None
    culprit: Culprit | None
    where: str | None
    code: str

    @property
    def runner(self) -> tuple[asyncio.Task[object] | None, Culprit | None, str | None]:
        """Who ran: one part of one call. A task may run many calls in turn, and a call many parts."""
        return self.task, self.culprit, self.where


class LoopMonitor:
    """A clock for deadlines that stands still while the loop is blocked, and names who blocked it.

    It runs between `with` and the end of its block.

    Args:
        threshold: seconds the loop may be late before it counts as blocked.
        culprit_of: finds the call a task works for, if it is one of the engine's. Called from another thread.
    """

    def __init__(
        self, threshold: float, culprit_of: Callable[[asyncio.Task[object]], Culprit | None] = lambda task: None
    ) -> None:
        self.stalled = 0.0
        """Seconds the loop has been blocked so far, all stalls together."""
        self.on_stall: Callable[[Stall], None] = lambda stall: None
        self.at_work: Culprit | None = None
        """The call that has the loop at this moment, if it is in a task that was lent to it and does not tell."""
        self._threshold = threshold
        self._culprit_of = culprit_of
        self._samples: list[_Sample] = []

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self.loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat = self.loop.time()
        self._heart = self.loop.call_later(_PERIOD, self._on_beat)
        threading.Thread(target=self._watch, args=(self._stop,), name="agentenv-loop-watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._heart.cancel()
        self._stop.set()
        self._beat = math.inf  # what outlives the engine still asks for the time, and is told nothing of stalls

    def now(self) -> float:
        """Seconds on a monotonic clock that left out every stall."""
        now = self.loop.time()
        if now - self._beat > _PERIOD + self._threshold:
            # Deadlines that fell due during a stall run before the late heartbeat does, so whoever looks first tells.
            self._tell(now)
        return now - self.stalled

    def _on_beat(self) -> None:
        self.now()
        self._beat = self.loop.time()
        self._heart = self.loop.call_later(_PERIOD, self._on_beat)

    def _tell(self, now: float) -> None:
        began, self._beat = self._beat, now
        seconds = now - began - _PERIOD
        self.stalled += seconds
        samples = [sample for sample in self._samples if sample.time > began]
        self._samples = []
        blamed = _blame(samples, seconds / 3)
        stall = Stall(blamed.where if blamed else None, blamed.code if blamed else "", seconds, time.time())
        _LOG.log(logging.INFO if blamed is None else logging.WARNING, "%s", stall)
        if blamed is not None and blamed.culprit is not None:
            blamed.culprit.charge(stall)
        self.on_stall(stall)

    def _watch(self, stop: threading.Event) -> None:
        late, warned = False, 0.0
        while not stop.wait(self._threshold / (10 if late else 5)):
            began, now = self._beat, self.loop.time()
            late = now - began > _PERIOD + self._threshold / 5
            if not late:
                continue
            self._sample(now)
            if now - began > _WARN_WHILE_BLOCKED and warned != began and self._samples:
                # Said from here because a loop that is blocked for good never gets to say it.
                warned = began
                _LOG.warning("the event loop is blocked since %.1f s at %s", now - began, self._samples[-1].code)

    def _sample(self, now: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None or self.loop.is_closed():
            return
        task = asyncio.current_task(self.loop)
        # Asked now: by the time the loop is free again, a task that has ended no longer knows whose it was, and one
        # that goes on is somewhere else.
        culprit = self.at_work or (None if task is None else self._culprit_of(task))
        where = culprit.where if culprit is not None else None if task is None else task.get_name()
        self._samples.append(_Sample(now, task, culprit, where, _describe(frame)))
        if len(self._samples) > 100:
            del self._samples[1:50]


def _blame(samples: list[_Sample], seconds: float) -> _Sample | None:
    """A sample of what was seen running for that long. Many calls in turn are overload and nobody's fault."""
    if not samples:
        return None
    runner = Counter(sample.runner for sample in samples).most_common(1)[0][0]
    own = [sample for sample in samples if sample.runner == runner]
    return own[0] if own[0].task is not None and own[-1].time - own[0].time >= seconds else None


def _describe(frame: FrameType | None) -> str:
    """The innermost line of what the loop is running that is somebody's own code, not a library's or agentenv's."""
    innermost: list[str] = ["", "", ""]
    if frame is not None and frame.f_code.co_filename == selectors.__file__:
        return ""  # the loop waits as it should: what was late is the machine
    while frame is not None and frame.f_code.co_filename != asyncio.events.__file__:
        path = frame.f_code.co_filename
        installed = path.startswith(_INSTALLED) or path.startswith("<")
        rank = 0 if not installed and not path.startswith(_CORE) else 1 if not path.startswith(_CORE) else 2
        if not innermost[rank]:
            innermost[rank] = f"{path}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    own, library, core = innermost
    return own or library or core
