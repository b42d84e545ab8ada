"""What an engine has done so far: counts, effective concurrency, and who misbehaved."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentenv.outcome import Status
from agentenv.rollout.lag import Stall

KEPT = 1000
"""How many stalls are kept in full; the counts go on beyond."""


@dataclass(frozen=True, slots=True)
class Lap:
    """A stretch of wall-clock time, in seconds: all of it, and the part in which no model call was in flight."""

    seconds: float
    idle_seconds: float

    @property
    def busy_seconds(self) -> float:
        return self.seconds - self.idle_seconds

    @property
    def bubble(self) -> float:
        """The share in which the policy had nothing to do; 0 where no time has passed."""
        return self.idle_seconds / self.seconds if self.seconds > 0 else 0.0


class ModelCalls:
    """Counts the model calls in flight, and the time in which there were none.

    Attributes:
        in_flight: calls a policy has been asked and has not answered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_flight = 0
        self._clock = clock
        self._lap_began = self._changed = clock()
        self._idle = 0.0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Around one call."""
        self._advance()
        self.in_flight += 1
        try:
            yield
        finally:
            self._advance()
            self.in_flight -= 1

    def lap(self) -> Lap:
        """The time since the last lap, or since this was made."""
        self._advance()
        lap = Lap(self._changed - self._lap_began, self._idle)
        self._lap_began, self._idle = self._changed, 0.0
        return lap

    def _advance(self) -> None:
        now = self._clock()
        if not self.in_flight:
            self._idle += now - self._changed
        self._changed = now


class RolloutStats:
    """Live counters of one engine; read them at any time.

    Attributes:
        model_calls: the calls to the policy, and how long there was none.
        in_flight, peak_in_flight: episodes being played now, and the most there were at a time.
        from_journal: episodes that were finished before and came from the journal.
        finished: played episodes by their final status. attempts: all attempts by status, retried ones included.
        retried: attempts that were followed by another.
        stalls: the latest times the event loop was blocked, and by whom. stalled_seconds: all of them together.
        notes: the latest remarks about single attempts: a failing close, a stall it caused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.model_calls = ModelCalls(clock)
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
