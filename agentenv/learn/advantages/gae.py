"""Generalised advantage estimation where only sampled tokens are time steps, by token and by turn. Without torch.

δ_t = r_t + γ V_{t+1} − V_t,  A_t = δ_t + γλ A_{t+1},  R_t = A_t + V_t
(Schulman et al. 2016, https://arxiv.org/abs/1506.02438, equation 16). V after the last step is 0 when the
episode terminated and the critic's value of the state it was cut in when it was truncated.

Observation tokens are not time steps: nothing is discounted across them, and what the critic or a reward stream says
there changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import ArrayLike, NDArray

from agentenv.errors import ConfigError

Stream = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Advantages and what the critic should have said, both of shape [T], 0 off the mask.

    Attributes:
        advantages: A_t with the policy's λ.
        returns: the critic's targets R_t = A_t + V_t, with the critic's λ.
    """

    advantages: Stream
    returns: Stream


def masked_gae(
    rewards: ArrayLike,
    values: ArrayLike,
    mask: ArrayLike,
    *,
    discount: float = 1.0,
    trace: float = 0.95,
    critic_trace: float = 1.0,
    last_value: float = 0.0,
) -> Estimate:
    """One time step for each sampled token.

    Args:
        rewards: r at every position, shape [T]; only those on the mask count.
        values: V before each token is sampled, shape [T]; only those on the mask count.
        mask: true on sampled tokens, shape [T].
        discount: γ. trace: λ of the policy's advantages.
        critic_trace: λ of the critic's targets, 1 for Monte-Carlo returns (decoupled GAE: VC-PPO,
            https://arxiv.org/abs/2503.01491).
        last_value: V after the last sampled token: 0 unless the episode was truncated there.

    >>> masked_gae([0, 9, 1], [0.5, 9, 0.5], [True, False, True], trace=1.0).advantages.tolist()
    [0.5, 0.0, 0.5]
    """
    rewards, values, mask = _streams(rewards, values, mask)
    steps = mask.nonzero()[0]
    advantages = _backward(rewards[steps], values[steps], discount, trace, last_value)
    towards = _backward(rewards[steps], values[steps], discount, critic_trace, last_value)
    return Estimate(_scatter(advantages, steps, len(mask)), _scatter(towards + values[steps], steps, len(mask)))


def turn_gae(
    rewards: ArrayLike,
    values: ArrayLike,
    turns: ArrayLike,
    *,
    discount: float = 1.0,
    trace: float = 0.95,
    critic_trace: float = 1.0,
    last_value: float = 0.0,
) -> Estimate:
    """One time step for each turn: its reward is the sum over its tokens, its value the one at its first token.

    The turn's advantage and return are those of each of its tokens.

    Args:
        turns: index of the turn that sampled the token, never falling; −1 for tokens nobody sampled, shape [T].

    The other arguments are those of `masked_gae`.
    """
    which = numpy.asarray(turns, dtype=numpy.int64)
    rewards, values, mask = _streams(rewards, values, which >= 0)
    of_step = which[mask]
    if (numpy.diff(of_step) < 0).any():
        raise ConfigError("turn_gae needs the turns in their order; give it one episode's tokens at a time")
    _, first, place = numpy.unique(of_step, return_index=True, return_inverse=True)
    turn_rewards = numpy.zeros(len(first))
    numpy.add.at(turn_rewards, place, rewards[mask])
    turn_values = values[mask][first]
    advantages = _backward(turn_rewards, turn_values, discount, trace, last_value)
    towards = _backward(turn_rewards, turn_values, discount, critic_trace, last_value)
    steps = mask.nonzero()[0]
    return Estimate(
        _scatter(advantages[place], steps, len(mask)), _scatter((towards + turn_values)[place], steps, len(mask))
    )


def length_adaptive_trace(length: int, alpha: float = 0.05) -> float:
    """λ = max(0, 1 − 1/(alpha · length)) for a response of `length` tokens (VAPO, https://arxiv.org/abs/2504.05118).

    Short answers lean on the critic, long ones on what really came of them.

    >>> length_adaptive_trace(100), length_adaptive_trace(10)
    (0.8, 0.0)
    """
    return max(0.0, 1.0 - 1.0 / (alpha * length)) if length > 0 else 0.0


def returns_to_go(rewards: ArrayLike, mask: ArrayLike, *, discount: float = 1.0) -> Stream:
    """Σ_{k≥t} discount^{k−t} r_k over sampled tokens, shape [T], 0 off the mask (REINFORCE++, arXiv 2501.03262).

    `whitened` over the batch makes advantages of it.

    >>> returns_to_go([0, 5, 1], [True, False, True], discount=0.5).tolist()
    [0.5, 0.0, 1.0]
    """
    rewards, _, mask = _streams(rewards, numpy.zeros(numpy.shape(rewards)), mask)
    steps = mask.nonzero()[0]
    zeros = numpy.zeros(len(steps))
    return _scatter(_backward(rewards[steps], zeros, discount, 1.0, 0.0), steps, len(mask))


def whitened(streams: list[Stream], masks: list[NDArray[numpy.bool_]], epsilon: float = 1e-8) -> list[Stream]:
    """(x − mean) / (std + epsilon) over the sampled tokens of all rows together, 0 off the masks.

    The deviation is the unbiased one. A batch of equal values, or of one, gives 0.
    """
    everything = numpy.concatenate([stream[mask] for stream, mask in zip(streams, masks, strict=True)])
    if len(everything) < 2 or everything.min() == everything.max():
        return [numpy.zeros_like(stream) for stream in streams]
    mean, deviation = everything.mean(), everything.std(ddof=1)
    return [mask * (stream - mean) / (deviation + epsilon) for stream, mask in zip(streams, masks, strict=True)]


def explained_variance(values: ArrayLike, returns: ArrayLike) -> float:
    """1 − Var(R − V) / Var(R): 1 for a perfect critic, 0 for one that says a constant; `nan` when all returns agree.

    >>> explained_variance([1.0, 2.0], [1.0, 2.0])
    1.0
    """
    said, came = numpy.asarray(values, dtype=numpy.float64), numpy.asarray(returns, dtype=numpy.float64)
    spread = came.var()
    return float(1.0 - (came - said).var() / spread) if spread > 0 else float("nan")


def _streams(rewards: ArrayLike, values: ArrayLike, mask: ArrayLike) -> tuple[Stream, Stream, NDArray[numpy.bool_]]:
    reward = numpy.asarray(rewards, dtype=numpy.float64)
    value = numpy.asarray(values, dtype=numpy.float64)
    sampled = numpy.asarray(mask, dtype=numpy.bool_)
    if not reward.shape == value.shape == sampled.shape or reward.ndim != 1:
        raise ConfigError(
            f"rewards, values and mask must be of one length, got {reward.shape}, {value.shape} and {sampled.shape}"
        )
    return reward, value, sampled


def _backward(rewards: Stream, values: Stream, discount: float, trace: float, last_value: float) -> Stream:
    """A over time steps alone."""
    advantages = numpy.zeros(len(rewards))
    following_value, following_advantage = last_value, 0.0
    for step in range(len(rewards) - 1, -1, -1):
        error = rewards[step] + discount * following_value - values[step]
        following_advantage = error + discount * trace * following_advantage
        advantages[step] = following_advantage
        following_value = values[step]
    return advantages


def _scatter(of_steps: Stream, steps: NDArray[numpy.int64], length: int) -> Stream:
    stream = numpy.zeros(length)
    stream[steps] = of_steps
    return stream
