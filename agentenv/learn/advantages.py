"""Advantages: what each episode is credited with. Small pure functions, one definition each, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
            relative = [0.0] * len(scored)
        else:
            relative = _relative(scored, divide_by_std, ddof, epsilon)
        for index, value in zip(indices, relative, strict=True):
            values[index] = value
    return GroupAdvantages(tuple(values), len(members), singletons, alike, sum(value is None for value in values))


def _relative(rewards: Sequence[float], divide_by_std: bool, ddof: int, epsilon: float) -> list[float]:
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if not divide_by_std:
        return centred
    deviation = math.sqrt(math.fsum(value * value for value in centred) / (len(rewards) - ddof))
    return [value / (deviation + epsilon) for value in centred]
