"""One table of a grid: what each variant reached, with intervals, next to how much equal runs differ."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.ablations.grid import BASE, Run, Variant
from examples.ablations.launch import RESULT

STUDENT_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond, the normal's 1.96 is near enough."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        success: share of the test tasks that the best model solves greedily. last: reward of the last iteration.
        entropy: of the last update, nats a token. tokens: trained in all, padding left out.
        seconds: of all iterations. collapsed: whether the last reward is below half of the best iteration's.
    """

    success: float
    last: float
    entropy: float
    tokens: int
    seconds: float
    collapsed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A variant over its seeds. `low` and `high` bound the mean success with 95 %; `nan` for a single seed."""

    variant: Variant
    outcomes: tuple[Outcome, ...]
    mean: float
    low: float
    high: float


def outcome_of(folder: Path) -> Outcome | None:
    """What a finished run left; `None` for one that is not finished."""
    if not (folder / RESULT).exists():
        return None
    result = json.loads((folder / RESULT).read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    iterations: list[dict[str, Any]] = [line for line in lines if line["kind"] == "iteration"]
    rewards = [line["reward_mean"] for line in iterations if line["reward_mean"] is not None]
    last = statistics.fmean(rewards[-3:])
    return Outcome(
        success=result["test_after"]["success"]["rate"],
        last=last,
        entropy=_number(iterations[-1]["update"]["entropy"]),
        tokens=sum(line["update"]["tokens"] for line in iterations),
        seconds=sum(sum(value for value in line["seconds"].values()) for line in iterations),
        collapsed=last < max(rewards) / 2,
    )


def lines(runs: Sequence[Run]) -> list[Line]:
    """A line a variant that has finished runs, in the order of the runs."""
    found: dict[Variant, list[Outcome]] = {}
    for run in runs:
        outcome = outcome_of(run.folder)
        if outcome is not None:
            found.setdefault(run.variant, []).append(outcome)
    return [_line(variant, tuple(outcomes)) for variant, outcomes in found.items()]


def _line(variant: Variant, outcomes: tuple[Outcome, ...]) -> Line:
    values = [outcome.success for outcome in outcomes]
    mean, reach = statistics.fmean(values), _reach(values)
    return Line(variant, outcomes, mean, mean - reach, mean + reach)


def _reach(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of their mean."""
    n = len(values)
    if n < 2:
        return math.nan
    return STUDENT_95.get(n - 1, 1.96) * statistics.stdev(values) / math.sqrt(n)


def noise(found: Sequence[Line]) -> float:
    """The deviation of runs of the base, which differ in nothing but their seed; `nan` where there are too few."""
    values = [outcome.success for line in found if line.variant.question == BASE for outcome in line.outcomes]
    return statistics.stdev(values) if len(values) > 1 else math.nan


def markdown(found: Sequence[Line]) -> str:
    """The table. A difference from the base counts once it is twice what two such means differ by chance."""
    base = next((line for line in found if line.variant.question == BASE), None)
    floor = noise(found)
    rows = [
        "| question | variant | seeds | success on test | 95 % of the mean | against base | last reward | entropy | "
        "trained tokens | seconds | collapsed |",
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for line in found:
        many = line.outcomes
        rows.append(
            f"| {line.variant.question} | {line.variant.name} | {len(many)} | {line.mean:.3f} | "
            f"{_span(line.low, line.high)} | {_against(line, base, floor)} | "
            f"{_mean(one.last for one in many):.3f} | {_mean(one.entropy for one in many):.3f} | "
            f"{_mean(one.tokens for one in many):,.0f} | {_mean(one.seconds for one in many):.0f} | "
            f"{sum(one.collapsed for one in many)} |"
        )
    count = len(base.outcomes) if base is not None else 0
    rows.append("")
    rows.append(f"Noise floor: {count} runs of the base differ by {floor:.3f} (standard deviation of their success).")
    return "\n".join(rows)


def _against(line: Line, base: Line | None, floor: float) -> str:
    if base is None or line is base:
        return "–"
    difference = line.mean - base.mean
    by_chance = floor * math.sqrt(1 / len(line.outcomes) + 1 / len(base.outcomes))
    return f"**{difference:+.3f}**" if abs(difference) > 2 * by_chance else f"{difference:+.3f}"


def _span(low: float, high: float) -> str:
    """An interval of a share, as far as shares go."""
    return "–" if math.isnan(low) else f"{max(low, 0.0):.3f} to {min(high, 1.0):.3f}"


def _mean(values: Any) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value
