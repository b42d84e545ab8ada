"""Advantages of single turns from the rewards of single steps. Pure functions, one definition each, without torch.

An episode is a sequence of step rewards, one for each turn; `None` in it means that the episode is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from agentenv.learn.advantages.group_relative import (
    DEFAULT_EPSILON,
    GroupAdvantages,
    centred,
    grpo,
    standardised,
)

StepRewards = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class TurnAdvantages:
    """An advantage for every turn of every episode.

    Attributes:
        values: by episode and turn, in the order given; `None` for an episode that is not scored.
        episodes: how the episodes' returns compare within their groups.
        anchors: distinct states that several steps of a group share (GiGPO); 0 where states play no part.
    """

    values: tuple[tuple[float, ...] | None, ...]
    episodes: GroupAdvantages
    anchors: int = 0


def discounted_returns(rewards: Sequence[float], discount: float) -> list[float]:
    """R_i = r_i + discount · R_{i+1}, with nothing after the last.

    >>> discounted_returns([0.0, 1.0, 2.0], 0.5)
    [1.0, 2.0, 2.0]
    """
    returns = [0.0] * len(rewards)
    following = 0.0
    for index in range(len(rewards) - 1, -1, -1):
        following = rewards[index] + discount * following
        returns[index] = following
    return returns


def process_supervision(
    step_rewards: Sequence[StepRewards],
    groups: Sequence[str],
    *,
    discount: float = 1.0,
    epsilon: float = DEFAULT_EPSILON,
) -> TurnAdvantages:
    """A of a turn = Σ of the normalised rewards of its step and those after it, each `discount` times the one before.

    DeepSeekMath (https://arxiv.org/abs/2402.03300, section 4.1.3): every step reward is standardised by mean and
    unbiased deviation over *all* step rewards of the group.

    >>> process_supervision([[1.0, 0.0], [0.0, 0.0]], ["a", "a"], epsilon=0.0).values
    ((1.0, -0.5), (-1.0, -0.5))
    """
    scored = [_scored(rewards) for rewards in step_rewards]
    values: list[tuple[float, ...] | None] = [None] * len(scored)
    for indices in _by_group(scored, groups).values():
        steps = [reward for index in indices for reward in scored[index] or ()]
        normalised = iter(standardised(steps, epsilon=epsilon))
        for index in indices:
            own = [next(normalised) for _ in scored[index] or ()]
            values[index] = tuple(discounted_returns(own, discount))
    return TurnAdvantages(tuple(values), _of_returns(scored, groups))


def gigpo(
    step_rewards: Sequence[StepRewards],
    state_keys: Sequence[Sequence[Hashable | None]],
    groups: Sequence[str],
    *,
    discount: float = 0.95,
    step_weight: float = 1.0,
    divide_by_std: bool = True,
    epsilon: float = DEFAULT_EPSILON,
) -> TurnAdvantages:
    """A = A^E + step_weight · A^S (GiGPO, Feng et al. 2025, https://arxiv.org/abs/2505.10978).

    A^E compares the episode's return with its group's, each episode counted once. A^S compares what a step led to,
    R_t = Σ_{k≥t} discount^{k−t} r_k, with every step of the *same group* taken in the same state; a state visited
    twice in one episode counts each time. A step in a state that nobody else was in, or that has no key, gets 0.

    Args:
        step_rewards: by episode and turn.
        state_keys: the state each step was taken in, of the same shape; `None` where it has no name.
        divide_by_std: false divides neither part by a standard deviation.
    """
    scored = [_scored(rewards) for rewards in step_rewards]
    whole = _of_returns(scored, groups, divide_by_std=divide_by_std, epsilon=epsilon)
    values: list[tuple[float, ...] | None] = [None] * len(scored)
    anchors = 0
    for indices in _by_group(scored, groups).values():
        returns = {index: discounted_returns(scored[index] or (), discount) for index in indices}
        visits: dict[Hashable, list[tuple[int, int]]] = {}
        for index in indices:
            for turn, key in zip(range(len(returns[index])), state_keys[index], strict=True):
                if key is not None:
                    visits.setdefault(key, []).append((index, turn))
        local = {index: [0.0] * len(returns[index]) for index in indices}
        for places in visits.values():
            anchors += len(places) > 1
            reached = [returns[index][turn] for index, turn in places]
            relative = standardised(reached, epsilon=epsilon) if divide_by_std else centred(reached)
            for (index, turn), value in zip(places, relative, strict=True):
                local[index][turn] = value
        for index in indices:
            of_episode = whole.values[index]
            assert of_episode is not None
            values[index] = tuple(of_episode + step_weight * value for value in local[index])
    return TurnAdvantages(tuple(values), whole, anchors)


def _scored(rewards: StepRewards) -> list[float] | None:
    found = [reward for reward in rewards if reward is not None]
    return found if found and len(found) == len(rewards) else None


def _of_returns(
    scored: Sequence[Sequence[float] | None],
    groups: Sequence[str],
    *,
    divide_by_std: bool = True,
    epsilon: float = DEFAULT_EPSILON,
) -> GroupAdvantages:
    returns = [None if rewards is None else math.fsum(rewards) for rewards in scored]
    return grpo(returns, groups, divide_by_std=divide_by_std, epsilon=epsilon)


def _by_group(scored: Sequence[object | None], groups: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, (rewards, group) in enumerate(zip(scored, groups, strict=True)):
        if rewards is not None:
            members.setdefault(group, []).append(index)
    return members
