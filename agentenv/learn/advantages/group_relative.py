"""Advantages of whole episodes, relative to their group. Pure functions, one definition each, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentenv.errors import ConfigError

DEFAULT_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class GroupAdvantages:
    """Group-relative advantages and what the groups were like.

    Attributes:
        values: advantage of each episode, in the order given; `None` where its reward is `None`.
        groups: how many groups had a scored member.
        singleton_groups: with one scored member: nothing to compare with, so 0.
        zero_variance_groups: with several, all scored alike: nothing to tell apart, so 0.
        unscored: episodes without a reward.
    """

    values: tuple[float | None, ...]
    groups: int
    singleton_groups: int
    zero_variance_groups: int
    unscored: int


class Baseline(StrEnum):
    """What REINFORCE subtracts from a return: nothing, or the mean over the batch or over the episode's group."""

    NONE = "none"
    BATCH = "batch"
    GROUP = "group"


def grpo(
    rewards: Sequence[float | None],
    groups: Sequence[str],
    *,
    divide_by_std: bool = True,
    ddof: int = 1,
    epsilon: float = DEFAULT_EPSILON,
) -> GroupAdvantages:
    """A_i = (r_i − mean) / (std + epsilon) over the members of i's group.

    GRPO (Shao et al. 2024, DeepSeekMath, https://arxiv.org/abs/2402.03300, section 4.1.2). A group of one, or whose
    rewards are all equal, gives exactly 0 and is counted. Members whose reward is `None` are left out of mean and
    standard deviation.

    Args:
        rewards: return of each episode. groups: the name of its group, in the same order.
        divide_by_std: false leaves A_i = r_i − mean (Dr. GRPO, https://arxiv.org/abs/2503.20783).
        ddof: 1 for the unbiased standard deviation, 0 for the population's.

    >>> grpo([1.0, 0.0, None], ["a", "a", "a"], divide_by_std=False).values
    (0.5, -0.5, None)
    """

    def relative(scored: Sequence[float]) -> list[float]:
        return standardised(scored, ddof=ddof, epsilon=epsilon) if divide_by_std else centred(scored)

    return _within_groups(rewards, groups, relative)


def rloo(rewards: Sequence[float | None], groups: Sequence[str]) -> GroupAdvantages:
    """A_i = r_i − mean of the other members' rewards = n/(n − 1) · (r_i − mean).

    REINFORCE leave-one-out (Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740). The baseline does not
    depend on i's own reward, so the gradient is unbiased.

    >>> rloo([1.0, 0.0, 0.0], ["a", "a", "a"]).values
    (1.0, -0.5, -0.5)
    """

    def relative(scored: Sequence[float]) -> list[float]:
        n = len(scored)
        return [n / (n - 1) * value for value in centred(scored)]

    return _within_groups(rewards, groups, relative)


def maxrl(rewards: Sequence[float | None], groups: Sequence[str]) -> GroupAdvantages:
    """A_i = (r_i − mean) / mean over the members of i's group, for rewards that are never negative.

    A rare success weighs as much as it is rare: the gradient of log(success rate) rather than of the success rate
    (maximum-likelihood reinforcement learning). A group without any success gives 0.

    Raises:
        ConfigError: a negative reward: the mean is then no rate, and the quotient has no meaning.

    >>> maxrl([1.0, 0.0, 0.0, 0.0], ["a"] * 4).values
    (3.0, -1.0, -1.0, -1.0)
    """
    if any(reward is not None and reward < 0 for reward in rewards):
        raise ConfigError("MaxRL divides by the mean reward: rewards must not be negative; use grpo or rloo")

    def relative(scored: Sequence[float]) -> list[float]:
        mean = math.fsum(scored) / len(scored)
        return [value / mean for value in centred(scored)]

    return _within_groups(rewards, groups, relative)


def reinforce(
    rewards: Sequence[float | None], groups: Sequence[str], *, baseline: Baseline = Baseline.GROUP
) -> GroupAdvantages:
    """A_i = r_i − b (Williams 1992), with b as `baseline` says.

    Only `GROUP` makes singletons and groups without variance 0; they are counted whatever the baseline.

    >>> reinforce([1.0, 0.0, 2.0], ["a", "a", "b"], baseline=Baseline.BATCH).values
    (0.0, -1.0, 1.0)
    """
    relative = _within_groups(rewards, groups, centred)
    if baseline is Baseline.GROUP:
        return relative
    scored = [reward for reward in rewards if reward is not None]
    level = math.fsum(scored) / len(scored) if scored and baseline is Baseline.BATCH else 0.0
    values = tuple(None if reward is None else reward - level for reward in rewards)
    return GroupAdvantages(
        values, relative.groups, relative.singleton_groups, relative.zero_variance_groups, relative.unscored
    )


def centred(values: Sequence[float]) -> list[float]:
    """x_i − mean.

    >>> centred([3.0, 1.0])
    [1.0, -1.0]
    """
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def standardised(values: Sequence[float], *, ddof: int = 1, epsilon: float = DEFAULT_EPSILON) -> list[float]:
    """(x_i − mean) / (std + epsilon); all 0 where the values are all equal or there is only one.

    >>> standardised([1.0, 0.0, 0.0, 0.0], epsilon=0.0)
    [1.5, -0.5, -0.5, -0.5]
    """
    if len(values) < 2 or min(values) == max(values):
        return [0.0] * len(values)
    deviations = centred(values)
    deviation = math.sqrt(math.fsum(value * value for value in deviations) / (len(values) - ddof))
    return [value / (deviation + epsilon) for value in deviations]


def _within_groups(
    rewards: Sequence[float | None], groups: Sequence[str], relative: Callable[[Sequence[float]], list[float]]
) -> GroupAdvantages:
    """Applies `relative` to the scored members of every group in which there is something to compare."""
    members: dict[str, list[int]] = {}
    for index, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        if reward is not None:
            members.setdefault(group, []).append(index)
    values: list[float | None] = [None] * len(rewards)
    singletons = alike = 0
    for indices in members.values():
        scored = [reward for index in indices if (reward := rewards[index]) is not None]
        if len(scored) == 1 or min(scored) == max(scored):
            singletons += len(scored) == 1
            alike += len(scored) > 1
            found = [0.0] * len(scored)
        else:
            found = relative(scored)
        for index, value in zip(indices, found, strict=True):
            values[index] = value
    return GroupAdvantages(tuple(values), len(members), singletons, alike, sum(value is None for value in values))
