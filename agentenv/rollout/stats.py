"""What an engine has done so far: counts, effective concurrency, and who misbehaved."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from agentenv.outcome import Status
from agentenv.rollout.lag import Stall

KEPT = 1000
"""How many stalls are kept in full; the counts go on beyond."""


class RolloutStats:
    """Live counters of one engine; read them at any time.

    Attributes:
        in_flight, peak_in_flight: episodes being played now, and the most there were at a time.
        from_journal: episodes that were finished before and came from the journal.
        finished: played episodes by their final status. attempts: all attempts by status, retried ones included.
        retried: attempts that were followed by another.
        stalls: the latest times the event loop was blocked, and by whom. stalled_seconds: all of them together.
        notes: the latest remarks about single attempts: a failing close, a stall it caused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_flight = 0
        self.peak_in_flight = 0
        self.from_journal = 0
        self.finished: Counter[Status] = Counter()
        self.attempts: Counter[Status] = Counter()
        self.retried = 0
        self.abandoned: list[str] = []
        """Calls that ignored their cancellation, by name."""
        self.stalls: deque[Stall] = deque(maxlen=KEPT)
        self.stalled_seconds = 0.0
        self.notes: deque[str] = deque(maxlen=KEPT)
        self._clock = clock
        self._began: float | None = None
        self._changed = 0.0
        self._busy = 0.0

    @property
    def effective_concurrency(self) -> float:
        """Episodes in flight, averaged over the time since the first one started; 0 before."""
        if self._began is None:
            return 0.0
        now = self._clock()
        busy = self._busy + self.in_flight * (now - self._changed)
        return busy / (now - self._began) if now > self._began else float(self.in_flight)

    def begin_episode(self) -> None:
        self._advance()
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def end_episode(self) -> None:
        self._advance()
        self.in_flight -= 1

    def add_stall(self, stall: Stall) -> None:
        self.stalls.append(stall)
        self.stalled_seconds += stall.seconds

    def _advance(self) -> None:
        now = self._clock()
        if self._began is None:
            self._began = now
        else:
            self._busy += self.in_flight * (now - self._changed)
        self._changed = now
