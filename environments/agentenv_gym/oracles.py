"""Optimal policies where they can be computed: tabular environments by value iteration, blackjack by recursion."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy

Table: TypeAlias = Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]
"""state → action → (probability, next state, reward, terminated), as Gymnasium's toy-text environments have it in P."""

DISCOUNT = 0.9999
"""Just below 1, so that of two ways to the same return the shorter is taken."""


def value_iteration(table: Table, tolerance: float = 1e-9) -> numpy.ndarray[Any, numpy.dtype[numpy.float64]]:
    """Optimal action values of a tabular environment, shape [states, actions].

    Bellman's optimality equation (Sutton & Barto, 2nd ed., eq. 4.10) by value iteration, q(s, a) = Σ p (r + γ v(s')),
    with v(s') = 0 after termination.
    """
    states, actions = len(table), len(table[0])
    rewards = numpy.zeros((states, actions))
    onward = numpy.zeros((states, actions, states))
    for state, choices in table.items():
        for action, outcomes in choices.items():
            for probability, following, reward, terminated in outcomes:
                rewards[state, action] += probability * reward
                onward[state, action, following] += probability * (not terminated)
    values = numpy.zeros(states)
    while True:
        quality: numpy.ndarray[Any, numpy.dtype[numpy.float64]] = rewards + DISCOUNT * (onward @ values)
        better = quality.max(axis=1)
        if numpy.abs(better - values).max() < tolerance:
            return quality
        values = better


_CARDS = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}
"""Chances of a card from an endless deck, the ace as 1."""


def _add(total: int, usable_ace: bool, card: int) -> tuple[int, bool]:
    """A hand after one more card. `total` counts a usable ace as 11."""
    if card == 1 and total + 11 <= 21:
        return total + 11, True
    total += card
    return (total - 10, False) if total > 21 and usable_ace else (total, usable_ace)


@functools.cache
def _dealer(total: int, usable_ace: bool) -> Mapping[int, float]:
    """Chances of the dealer's final total, 22 standing for every bust. The dealer draws below 17."""
    if total >= 17:
        return {min(total, 22): 1.0}
    chances: dict[int, float] = {}
    for card, chance in _CARDS.items():
        for final, then in _dealer(*_add(total, usable_ace, card)).items():
            chances[final] = chances.get(final, 0.0) + chance * then
    return chances


@functools.cache
def blackjack_values(total: int, usable_ace: bool, dealer: int) -> tuple[float, float]:
    """Expected returns of (stick, hit), the latter followed by the best play.

    Args:
        total: the player's, 4 to 21, a usable ace counted as 11.
        dealer: the card shown, the ace as 1.
    """
    start = _add(0, False, dealer)
    stick = sum(
        chance * (1.0 if final > 21 or final < total else -1.0 if final > total else 0.0)
        for final, chance in _dealer(*start).items()
    )
    hit = 0.0
    for card, chance in _CARDS.items():
        then, ace = _add(total, usable_ace, card)
        hit += chance * (-1.0 if then > 21 else max(blackjack_values(then, ace, dealer)))
    return stick, hit
