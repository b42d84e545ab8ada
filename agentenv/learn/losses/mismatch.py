"""When the policy that sampled is not the one the ratio is measured against: weights that correct for it.

`b` is the behaviour policy, the sampler with the weights it had; `p` the proximal policy, the learner's weights at the
start of the update. They differ because sampler and learner compute differently, and because samples are stale. All
weights are constants of shape [N], one per sampled token, to be multiplied into a loss.
"""

from __future__ import annotations

import torch

from agentenv.errors import ConfigError
from agentenv.learn.losses.policy import sequence_sum


def token_weights(
    proximal_logprobs: torch.Tensor, behaviour_logprobs: torch.Tensor, *, cap: float | None = None
) -> torch.Tensor:
    """min(π_p / π_b, cap) of each token.

    With a cap it is truncated importance sampling (TIS, cap 2); without, the outer weight of decoupled PPO: multiply
    it into `ppo_clip` against π_p (AReaL, https://arxiv.org/abs/2505.24298).
    """
    ratios = torch.exp(proximal_logprobs - behaviour_logprobs).detach()
    return ratios if cap is None else ratios.clamp_max(cap)


def sequence_weights(
    proximal_logprobs: torch.Tensor, behaviour_logprobs: torch.Tensor, sequences: torch.Tensor, *, cap: float = 2.0
) -> torch.Tensor:
    """min(Π π_p / π_b over the sequence, cap) at each of its tokens: unbiased below the cap, with more variance.

    Args:
        sequences: which sequence each token belongs to, 0 … S − 1, shape [N].
    """
    log_ratios = (proximal_logprobs - behaviour_logprobs).detach()
    return torch.exp(sequence_sum(log_ratios, sequences)).clamp_max(cap)


def icepop_weights(
    proximal_logprobs: torch.Tensor, behaviour_logprobs: torch.Tensor, *, low: float = 0.5, high: float = 5.0
) -> torch.Tensor:
    """π_p / π_b of each token, and 0 outside [low, high]: tokens the two engines disagree on teach nothing (IcePop)."""
    ratios = token_weights(proximal_logprobs, behaviour_logprobs)
    return torch.where((ratios >= low) & (ratios <= high), ratios, torch.zeros_like(ratios))


def log_linear_proximal(
    logprobs: torch.Tensor,
    behaviour_logprobs: torch.Tensor,
    behaviour_versions: torch.Tensor,
    *,
    proximal_version: int,
    version: int,
) -> torch.Tensor:
    """log π_p = log π_b + α (log π_θ − log π_b) with α = (v_p − v_b) / (v_θ − v_b), without a forward pass.

    It lies between the sampler and the policy being trained, as far along as its version is. A token sampled by the
    weights being trained has π_p = π_b.

    Args:
        behaviour_versions: weight version that sampled each token, v_b, shape [N].
        proximal_version: v_p. version: v_θ, at least v_p; every v_b lies at or below v_p.
    """
    if version < proximal_version or (len(behaviour_versions) and int(behaviour_versions.max()) > proximal_version):
        raise ConfigError(
            f"versions must rise from behaviour over proximal ({proximal_version}) to the trained one ({version})"
        )
    distance = (version - behaviour_versions).to(logprobs.dtype)
    alpha = (proximal_version - behaviour_versions).to(logprobs.dtype) / distance.clamp_min(1.0)
    return behaviour_logprobs + alpha * (logprobs.detach() - behaviour_logprobs)
