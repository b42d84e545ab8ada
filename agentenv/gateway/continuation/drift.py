"""Counting how turns went on: which were exact as they were, which were made exact, which began a branch, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from agentenv.gateway.calls import Continuation, ForkReason


@dataclass(frozen=True, slots=True)
class DriftStatistics:
    """Calls by how their prompt relates to earlier calls. Statistics of several sessions can be added.

    `tokens_realigned` counts the prompt tokens that were sent as they had been sampled (or sent before) where the
    full render spells the same text in other tokens.

    >>> one = DriftStatistics.of([(Continuation.MERGED, None)])
    >>> (one + one).share(Continuation.MERGED)
    1.0
    """

    calls: Mapping[Continuation, int] = field(default_factory=dict)
    forks: Mapping[ForkReason, int] = field(default_factory=dict)
    tokens_realigned: int = 0

    @classmethod
    def of(cls, calls: Iterable[tuple[Continuation, ForkReason | None]], tokens_realigned: int = 0) -> Self:
        """The statistics of some calls."""
        found = list(calls)
        reasons = Counter(reason for _, reason in found if reason is not None)
        return cls(Counter(continuation for continuation, _ in found), reasons, tokens_realigned)

    def __add__(self, other: DriftStatistics) -> DriftStatistics:
        return DriftStatistics(
            Counter(self.calls) + Counter(other.calls),
            Counter(self.forks) + Counter(other.forks),
            self.tokens_realigned + other.tokens_realigned,
        )

    @property
    def total(self) -> int:
        """All calls."""
        return sum(self.calls.values())

    @property
    def continued(self) -> int:
        """Calls that go on from an earlier one, exactly or not."""
        return self.total - self.calls.get(Continuation.OPENING, 0)

    def share(self, continuation: Continuation) -> float:
        """The share of the calls that go on from an earlier one (`OPENING`: of all calls); 0 where there are none."""
        whole = self.total if continuation is Continuation.OPENING else self.continued
        return self.calls.get(continuation, 0) / whole if whole else 0.0

    def metrics(self) -> dict[str, float]:
        """The shares and counts by name, for logs and metrics files."""
        named = {f"drift/{one.value}": self.share(one) for one in Continuation if one is not Continuation.OPENING}
        named |= {f"drift/forked/{reason.value}": float(count) for reason, count in sorted(self.forks.items())}
        return named | {"drift/tokens_realigned": float(self.tokens_realigned)}

    def __str__(self) -> str:
        """One line for a summary.

        >>> print(DriftStatistics.of([(Continuation.OPENING, None), (Continuation.FORKED, ForkReason.TOOLS_CHANGED)]))
        2 calls, 1 of them later turns: 0.0 % merged, 0.0 % realigned (0 tokens), 100.0 % forked (tools_changed 1)
        """
        merged, realigned, forked = (
            f"{100 * self.share(one):.1f} % {one.value}"
            for one in (Continuation.MERGED, Continuation.REALIGNED, Continuation.FORKED)
        )
        why = ", ".join(f"{reason.value} {count}" for reason, count in sorted(self.forks.items()))
        return (
            f"{self.total} calls, {self.continued} of them later turns: {merged}, "
            f"{realigned} ({self.tokens_realigned} tokens), {forked}" + (f" ({why})" if why else "")
        )
