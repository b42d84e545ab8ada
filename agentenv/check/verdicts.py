"""From what attacks earned to what that means: base rates first, blame second.

A yes/no task pays a constant answer half of the time and that is no fault; a puzzle with many solutions may pay
another task's answer now and then. So a win counts only where the attack did not happen to claim the right answer,
and how bad it is depends on how often it happens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agentenv.check.attacks import Attack, Format, canonical
from agentenv.check.catalogue import EXPLANATIONS, Probe
from agentenv.check.report import Evidence, Finding, Severity, shorten

WIN = 0.9
"""Share of the reward range from which an attack has won."""

FULL = 0.99
"""Share from which it earned full marks. Less is partial credit for a near miss: generous, but no broken verifier."""

MANY = 8
"""How many different answers must be paid alike before all answers are said to be."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares of unexplained wins from which a family of attacks is a warning or an error; below, it is info."""

    warning: float
    error: float


_THRESHOLDS = {
    Probe.PAYS_NOTHING: Thresholds(0.0, 0.1),
    Probe.OVERRIDE: Thresholds(0.1, 0.2),
    Probe.GUESS: Thresholds(0.2, 0.5),
    Probe.LISTING: Thresholds(0.1, 0.2),
    Probe.ECHO: Thresholds(0.1, 0.2),
    Probe.HEDGE: Thresholds(0.2, 0.5),
    Probe.OTHER_ANSWER: Thresholds(0.2, 0.5),
    Probe.TOOL_ABUSE: Thresholds(0.0, 0.2),
}
_NEEDS_RIGHT = frozenset({Probe.GUESS, Probe.LISTING, Probe.ECHO})
"""Families that a task with few possible answers may pay by chance; without the right answer nobody can tell."""

_LUCKY = frozenset({Probe.GUESS, Probe.OTHER_ANSWER})
"""Families that are sensible moves of a game of chance."""

_PARTIAL = Thresholds(0.3, math.inf)
_PARTIAL_WORTH_NAMING = 0.1


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps returns to shares of the reward range: 0 at its bottom, 1 at its top."""

    low: float
    high: float

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    @classmethod
    def declared(cls, bounds: tuple[float, float], oracle: Sequence[float]) -> Scale:
        """The declared range; an end that is not finite is taken from what the oracle earned."""
        low, high = bounds
        low = low if math.isfinite(low) else min(oracle, default=0.0)
        high = high if math.isfinite(high) else max(oracle, default=low + 1.0)
        return cls(low, high if high > low else low + 1.0)

    def narrowed(self, tries: Sequence[Try], oracle: Sequence[float]) -> Scale:
        """Where penalties for every step make the range wide, doing nothing for a while looks like nearly all of it:
        then the least that a whole episode really earned is the bottom."""
        if self.low >= 0:
            return self
        low = min([one.earned for one in tries if one.ended] + list(oracle), default=self.low)
        return Scale(max(self.low, low), self.high) if low < self.high else self


@dataclass(frozen=True, slots=True)
class Try:
    """One attack on one task and what it earned; `right` is the oracle's bare answer, where there is an oracle.

    `ended` is false for an episode that was given up before its end.
    """

    task_id: str
    attack: Attack
    earned: float
    right: str | None
    ended: bool = True

    @property
    def explained(self) -> bool:
        """Whether the attack claims the right answer, so that paying it is fair."""
        return self.right is not None and canonical(self.right) in {canonical(claim) for claim in self.attack.claims}


def win_rate(returns: Sequence[float], scale: Scale) -> float:
    """The share of returns that count as a win; 1 of none."""
    return sum(scale.share(value) >= WIN for value in returns) / len(returns) if returns else 1.0


def judge_oracle(returns: Sequence[tuple[str, float]], scale: Scale) -> list[Finding]:
    """`returns` are (task id, the oracle's return)."""
    short = [(task_id, value) for task_id, value in returns if scale.share(value) < 1.0 - 1e-6]
    if not short:
        return []
    won = sum(scale.share(value) >= WIN for _, value in returns)
    severity = Severity.INFO if won == len(returns) else Severity.WARNING if won else Severity.ERROR
    task_id, value = min(short, key=lambda pair: pair[1])
    detail = f"the top of the range is {scale.high:g}"
    evidence = Evidence(task_id=task_id, reward=value, detail=detail)
    return [_finding(Probe.ORACLE_FAILS, severity, len(short), len(returns), evidence)]


def judge_constant(tries: Sequence[Try], oracle: Sequence[float], scale: Scale, style: Format) -> list[Finding]:
    """Whether every answer that has the right form earns the same as the oracle.

    Where that is the bottom of the range, it is the oracle that is suspect, and `judge_oracle` says so.
    """
    formed = [one for one in tries if style.fits(one.attack.message.text) and not one.attack.message.tool_calls]
    earned = {round(value, 9) for value in (*oracle, *(one.earned for one in formed))}
    if len(earned) != 1 or not oracle or scale.share(min(earned)) <= 0.0:
        return []
    if len({one.attack.message.text for one in formed}) < MANY:
        return []
    example = next((one for one in formed if not one.explained), formed[-1])
    evidence = Evidence(
        task_id=example.task_id,
        attack=example.attack.name,
        answer=sent(example.attack),
        expected=None if example.right is None else shorten(example.right),
        reward=example.earned,
    )
    return [_finding(Probe.CONSTANT_REWARD, Severity.ERROR, len(formed), len(formed), evidence)]


def judge_attacks(tries: Sequence[Try], scale: Scale, *, chance: bool = False) -> list[Finding]:
    """One finding per family of attacks that is paid, led by its most successful attack.

    Where returns can be negative, an episode that has not ended proves nothing: its penalties are still to come.
    `chance=True` says that even the oracle often misses the top, so that luck may explain what an attack earns.
    """
    findings = []
    if scale.low < 0:
        tries = [one for one in tries if one.ended]
    by_family: dict[Probe, dict[str, list[Try]]] = {}
    for one in tries:
        if one.attack.family in _THRESHOLDS:
            by_family.setdefault(one.attack.family, {}).setdefault(one.attack.pair or one.attack.name, []).append(one)
    for family, attacks in by_family.items():
        cases = {name: _cases(found) for name, found in attacks.items()}
        findings += _winners(family, cases, scale, chance)
    partial = by_family.get(Probe.PAYS_NOTHING, {})
    if not any(finding.probe is Probe.PAYS_NOTHING for finding in findings):
        findings += _partial({name: _cases(found) for name, found in partial.items()}, scale)
    return findings


def _cases(tries: Sequence[Try]) -> list[Try]:
    """The tries whose payment would be unfair. Of a pair, the half that earned less, if both were played."""
    halves: dict[str, list[Try]] = {}
    for one in tries:
        halves.setdefault(one.task_id if one.attack.pair else f"{one.task_id}/{one.attack.name}", []).append(one)
    whole = [found for found in halves.values() if not found[0].attack.pair or len(found) > 1]
    return [one for found in whole if not (one := min(found, key=lambda half: half.earned)).explained]


def _winners(family: Probe, attacks: dict[str, list[Try]], scale: Scale, chance: bool) -> list[Finding]:
    wins = {name: [one for one in cases if scale.share(one.earned) >= WIN] for name, cases in attacks.items()}
    paid = [name for name in wins if wins[name]]
    if not paid:
        return []
    rates = {name: len(wins[name]) / len(attacks[name]) for name in paid}
    worst = max(paid, key=lambda name: (rates[name], len(wins[name])))
    limits = _THRESHOLDS[family]
    rate, example = rates[worst], wins[worst][0]
    severity = Severity.ERROR if rate >= limits.error else Severity.WARNING if rate >= limits.warning else Severity.INFO
    unknown = example.right is None and family in _NEEDS_RIGHT
    near = max(scale.share(one.earned) for one in wins[worst]) < FULL
    if severity is Severity.ERROR and (unknown or near):
        severity = Severity.WARNING
    if chance and family in _LUCKY:
        severity = Severity.INFO
    also = ", ".join(name for name in paid if name != worst)
    evidence = Evidence(
        task_id=example.task_id,
        attack=worst,
        answer=sent(example.attack),
        expected=None if example.right is None else shorten(example.right),
        reward=example.earned,
        detail=f"also paid: {shorten(also)}" if also else "",
    )
    return [_finding(family, severity, len(wins[worst]), len(attacks[worst]), evidence)]


def _partial(attacks: dict[str, list[Try]], scale: Scale) -> list[Finding]:
    """Whether an answer without content earns a sizeable part of the reward on average."""
    means = {
        name: math.fsum(scale.share(one.earned) for one in cases) / len(cases)
        for name, cases in attacks.items()
        if cases
    }
    if not means or (best := max(means.values())) < _PARTIAL_WORTH_NAMING:
        return []
    worst = max(means, key=lambda name: means[name])
    example = max(attacks[worst], key=lambda one: one.earned)
    evidence = Evidence(
        task_id=example.task_id,
        attack=worst,
        answer=sent(example.attack),
        reward=example.earned,
        detail=f"{best:.0%} of the range on average",
    )
    severity = Severity.WARNING if best >= _PARTIAL.warning else Severity.INFO
    return [_finding(Probe.PARTIAL_PAY, severity, len(attacks[worst]), len(attacks[worst]), evidence)]


def sent(attack: Attack) -> str:
    """What an attack sends, as one line."""
    message = attack.message
    calls = " ".join(f"{call.name}({call.arguments})" for call in message.tool_calls)
    return shorten(calls or message.text) or "(nothing)"


def _finding(probe: Probe, severity: Severity, seen: int, trials: int, evidence: Evidence) -> Finding:
    summary = EXPLANATIONS[probe].meaning
    return Finding(probe=probe, severity=severity, summary=summary, seen=seen, trials=trials, evidence=evidence)
