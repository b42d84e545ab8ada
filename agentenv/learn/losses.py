"""Policy-gradient losses and their diagnostics, per sampled token.

Every function takes tensors of shape [N], one entry per sampled token, and is free of state. `pi` is the policy being
trained, `b` the behaviour policy that sampled; logprobs are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class TokenDistribution:
    """log pi of each sampled token (differentiable) and the entropy of the distribution it came from (detached)."""

    logprobs: torch.Tensor
    entropies: torch.Tensor


def token_distribution(logits: torch.Tensor, sampled: torch.Tensor, temperature: float = 1.0) -> TokenDistribution:
    """log softmax(z / T)[sampled] and H = -sum p log p, in nats.

    Args:
        logits: z, shape [N, V].
        sampled: token ids, shape [N].
        temperature: T > 0, the one the tokens were sampled with, so that the ratio compares like with like.
    """
    scaled = logits if temperature == 1.0 else logits / temperature
    log_probabilities = torch.log_softmax(scaled, dim=-1)
    picked = log_probabilities.gather(-1, sampled[:, None])[:, 0]
    detached = log_probabilities.detach()
    entropies = -(detached.exp() * detached).sum(-1)
    return TokenDistribution(picked, entropies)


def ppo_clip(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """-min(u A, clip(u, 1 - clip_low, 1 + clip_high) A) with u = exp(logprobs - old_logprobs), per token, shape [N].

    The clipped surrogate of PPO (Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 7) with the
    asymmetric bounds of DAPO ("clip-higher", https://arxiv.org/abs/2503.14476, equation 10). The gradient is zero
    where A > 0 and u > 1 + clip_high, and where A < 0 and u < 1 - clip_low.
    """
    ratios = torch.exp(logprobs - old_logprobs)
    clipped = ratios.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratios * advantages, clipped * advantages)


def weighted_sum(losses: torch.Tensor, weights: torch.Tensor, total_weight: float) -> torch.Tensor:
    """sum w l / total_weight, a scalar.

    `total_weight` is the sum of the weights of the *whole* minibatch, also when `losses` is one micro-batch of it:
    the micro-batches then add up to the same number, and the same gradient, however they were cut.
    """
    return (losses * weights).sum() / total_weight


def kl_k1(log_ratios: torch.Tensor) -> torch.Tensor:
    """-log u per token: the plain estimator of KL(b || pi) on tokens sampled from b, with u = pi / b.

    Unbiased, but of either sign on a single token (Schulman, "Approximating KL divergence", 2020).
    """
    return -log_ratios


def kl_k3(log_ratios: torch.Tensor) -> torch.Tensor:
    """u - 1 - log u per token: the estimator of KL(b || pi) that is unbiased and never negative (ibid.)."""
    return torch.expm1(log_ratios) - log_ratios


@dataclass(frozen=True, slots=True)
class ClipCounts:
    """How many tokens the clip cut out of the gradient, at each side."""

    low: int
    high: int


def clip_counts(log_ratios: torch.Tensor, advantages: torch.Tensor, *, clip_low: float, clip_high: float) -> ClipCounts:
    """Counts tokens with A < 0 and u < 1 - clip_low (low), and with A > 0 and u > 1 + clip_high (high)."""
    ratios = log_ratios.exp()
    low = (advantages < 0) & (ratios < 1.0 - clip_low)
    high = (advantages > 0) & (ratios > 1.0 + clip_high)
    return ClipCounts(int(low.sum()), int(high.sum()))
