"""What `/metrics` says, in the text format of Prometheus.

Seven series are written by hand: that is less than the package for it would weigh, and none of them has a label whose
values come from outside.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agentenv.sandbox.result import Cause

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of an execution's seconds."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What a service counts itself: sandboxes open, executions that run and that wait, requests refused for room,
    sandboxes closed because nobody used them."""

    sandboxes: int
    running: int
    queued: int
    refused: int
    expired: int


@dataclass(slots=True)
class Metrics:
    """Executions that have ended, by cause and by seconds."""

    causes: Counter[Cause] = field(default_factory=Counter)
    expired: int = 0
    _seconds: Counter[float] = field(default_factory=Counter)
    _sum: float = 0.0

    def ended(self, cause: Cause, seconds: float) -> None:
        """An execution has ended."""
        self.causes[cause] += 1
        self._sum += seconds
        self._seconds[next((bound for bound in BUCKETS if seconds <= bound), float("inf"))] += 1

    def text(self, gauges: Gauges) -> str:
        """The page, each series with its help and type."""
        series = itertools.chain(
            _series("executions_total", "counter", "Executions that have ended.", self._by_cause()),
            _series("refused_total", "counter", "Requests refused for lack of room.", [("", gauges.refused)]),
            _series("expired_total", "counter", "Sandboxes closed because nobody used them.", [("", gauges.expired)]),
            _series("open", "gauge", "Sandboxes that are open.", [("", gauges.sandboxes)]),
            _series("running", "gauge", "Executions that run.", [("", gauges.running)]),
            _series("queued", "gauge", "Executions that wait for their turn.", [("", gauges.queued)]),
            _series("execution_seconds", "histogram", "How long executions take.", self._histogram()),
        )
        return "\n".join(series) + "\n"

    def _by_cause(self) -> list[tuple[str, float]]:
        return [(f'{{cause="{cause.value}"}}', self.causes[cause]) for cause in Cause]

    def _histogram(self) -> Iterator[tuple[str, float]]:
        counts = itertools.accumulate(self._seconds[bound] for bound in BUCKETS)
        for bound, count in zip(BUCKETS, counts, strict=True):
            yield f'_bucket{{le="{bound:g}"}}', count
        total = self._seconds.total()
        yield from (('_bucket{le="+Inf"}', total), ("_sum", self._sum), ("_count", total))


def _series(name: str, kind: str, help: str, values: Iterable[tuple[str, float]]) -> list[str]:
    full = f"agentenv_sandbox_{name}"
    return [f"# HELP {full} {help}", f"# TYPE {full} {kind}", *(f"{full}{rest} {value!r}" for rest, value in values)]
