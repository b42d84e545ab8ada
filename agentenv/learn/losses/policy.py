"""Policy-gradient losses, per sampled token.

Every function takes tensors of shape [N], one entry per sampled token, gives the loss of each, shape [N], and is free
of state. `logprobs` are those of the policy being trained (π_θ, differentiable), `old_logprobs` those of the policy the
ratio u = π_θ / π_p is measured against; both in nats. Advantages are constants.
"""

from __future__ import annotations

import torch


def reinforce(logprobs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """−A log π_θ (Williams 1992). Its gradient is the policy gradient; its value means nothing."""
    return -advantages * logprobs


def unclipped(logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """−u A: the importance-weighted policy gradient without any bound."""
    return -torch.exp(logprobs - old_logprobs) * advantages


def ppo_clip(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> torch.Tensor:
    """−min(u A, clip(u, 1 − clip_low, 1 + clip_high) A).

    The clipped surrogate of PPO (Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 7) with the
    asymmetric bounds of DAPO ("clip-higher", https://arxiv.org/abs/2503.14476, equation 10). The gradient is zero
    where A > 0 and u > 1 + clip_high, and where A < 0 and u < 1 − clip_low.

    Args:
        dual_clip: c > 1 bounds the loss where A < 0 by −c A, for u far above 1 (Ye et al. 2020,
            https://arxiv.org/abs/1912.09729, equation 5); there the gradient is zero too.
    """
    ratios = torch.exp(logprobs - old_logprobs)
    losses = _clipped(ratios, advantages, clip_low, clip_high)
    if dual_clip is None:
        return losses
    return torch.where(advantages < 0, torch.minimum(losses, -dual_clip * advantages), losses)


def gspo(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    sequences: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """−min(s A, clip(s, 1 − clip_low, 1 + clip_high) A) with s = exp(mean of log u over the sequence).

    Group sequence policy optimisation (Zheng et al. 2025, https://arxiv.org/abs/2507.18071, equations 5 to 7). Every
    token carries its sequence's loss, so that the mean over a sequence's tokens is the loss of the paper; take the
    aggregation that weighs sequences equally. Its clip ranges are orders of magnitude narrower than PPO's.

    Args:
        sequences: which sequence each token belongs to, 0 … S − 1, shape [N].
    """
    ratios = torch.exp(sequence_mean(logprobs - old_logprobs, sequences))
    return _clipped(ratios, advantages, clip_low, clip_high)


def cispo(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """−stop_gradient(clip(u, 1 − clip_low, 1 + clip_high)) · A · log π_θ.

    CISPO (MiniMax-M1, https://arxiv.org/abs/2506.13585, section 3.1): the weight is clipped, not the gradient, so a
    token that has moved far is still learnt from.
    """
    weights = torch.exp(logprobs.detach() - old_logprobs).clamp(1.0 - clip_low, 1.0 + clip_high)
    return -weights * advantages * logprobs


def dppo(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, *, furthest: float = 0.2
) -> torch.Tensor:
    """−u A, and 0 for a token whose probability has moved by more than `furthest` in the direction of A.

    The bound is on the difference of probabilities, not on their ratio: a rare token may grow many times over and stay
    rare, a common one may not be pushed out.
    """
    moved = logprobs.detach().exp() - old_logprobs.exp()
    dropped = moved * advantages.sign() > furthest
    return torch.where(dropped, torch.zeros_like(logprobs), unclipped(logprobs, old_logprobs, advantages))


def weighted_sum(losses: torch.Tensor, weights: torch.Tensor, units: float) -> torch.Tensor:
    """Σ w l / units, a scalar.

    `units` are those of the *whole* minibatch, also when `losses` is one micro-batch of it: the micro-batches
    then add up to the same number, and the same gradient, however they were cut.
    """
    return (losses * weights).sum() / units


def sequence_mean(values: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
    """The mean of its sequence at each token, shape [N]; differentiable.

    >>> sequence_mean(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1])).tolist()
    [2.0, 2.0, 5.0]
    """
    totals, lengths = _sequence_sums(values, sequences)
    return (totals / lengths.clamp_min(1.0))[sequences]


def sequence_sum(values: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
    """The sum of its sequence at each token, shape [N]; differentiable."""
    return _sequence_sums(values, sequences)[0][sequences]


def _sequence_sums(values: torch.Tensor, sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = int(sequences.max()) + 1 if len(sequences) else 0
    zeros = values.new_zeros(count)
    return zeros.index_add(0, sequences, values), zeros.index_add(0, sequences, torch.ones_like(values))


def _clipped(ratios: torch.Tensor, advantages: torch.Tensor, clip_low: float, clip_high: float) -> torch.Tensor:
    bounded = ratios.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratios * advantages, bounded * advantages)
