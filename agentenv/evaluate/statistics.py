"""Uncertainty of an evaluation's numbers. Episodes of one task are not independent, so tasks are the unit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from agentenv.errors import UnscoredRewardError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error; `None` where there is too little to tell."""

    mean: float | None
    standard_error: float | None
    count: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Proportion:
    """A success rate with its confidence interval; `None` where nothing was scored."""

    rate: float | None
    low: float | None
    high: float | None
    count: int


def clustered_mean(values: Iterable[tuple[str, float | None]]) -> Estimate:
    """Mean of all values and its standard error, clustered.

    SE = sqrt(G / (G - 1) · Σ_g (Σ_{i in g} (x_i - mean))²) / N over G clusters and N values: Miller, "Adding Error Bars
    to Evals" (2024), equation 4, with the usual small-sample factor. With one value per cluster it is s / sqrt(N).

    Args:
        values: (cluster, value) pairs; the cluster is the task's id.

    Raises:
        UnscoredRewardError: a value is `None`. Leave unscored episodes out on purpose, and count them.

    >>> clustered_mean([("a", 1.0), ("b", 0.0)])
    Estimate(mean=0.5, standard_error=0.5, count=2, clusters=2)
    """
    by_cluster: defaultdict[str, list[float]] = defaultdict(list)
    for cluster, value in values:
        if value is None:
            raise UnscoredRewardError(f"an episode of {cluster} has no reward and cannot be averaged")
        by_cluster[cluster].append(value)
    count, clusters = sum(map(len, by_cluster.values())), len(by_cluster)
    if not count:
        return Estimate(None, None, 0, 0)
    mean = math.fsum(value for group in by_cluster.values() for value in group) / count
    if clusters < 2:
        return Estimate(mean, None, count, clusters)
    squares = math.fsum(math.fsum(value - mean for value in group) ** 2 for group in by_cluster.values())
    return Estimate(mean, math.sqrt(clusters / (clusters - 1) * squares) / count, count, clusters)


def success_rate(outcomes: Iterable[tuple[str, bool]], confidence: float = 0.95) -> Proportion:
    """Success rate with Wilson's interval, over the effective number of independent episodes.

    With several episodes per task that number is rate · (1 - rate) / SE², SE being the clustered standard error
    (Kish's design effect), at least the number of tasks and at most the number of episodes.

    >>> success_rate([("a", True), ("b", False)]).rate
    0.5
    """
    pairs = [(task, float(success)) for task, success in outcomes]
    estimate = clustered_mean(pairs)
    if estimate.mean is None:
        return Proportion(None, None, None, 0)
    effective = float(estimate.count)
    if estimate.clusters < estimate.count:
        effective = float(estimate.clusters)
        if estimate.standard_error:
            independent = estimate.mean * (1 - estimate.mean) / estimate.standard_error**2
            effective = min(max(independent, effective), float(estimate.count))
    low, high = wilson(estimate.mean, effective, confidence)
    return Proportion(estimate.mean, low, high, estimate.count)


def wilson(rate: float, count: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a rate seen in `count` independent trials.

    >>> low, high = wilson(0.5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
