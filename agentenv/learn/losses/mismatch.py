"""When the policy that sampled is not the one the ratio is measured against: weights that correct for it.

`b` is the behaviour policy, the sampler with the weights it had; `p` the proximal policy, the learner's weights at the
start of the update. They differ because sampler and learner compute differently, and because samples are stale. All
weights are constants of shape [N], one per sampled token, to be multiplied into a loss.
"""

from __future__ import annotations

import numpy
import torch
from numpy.typing import NDArray

from agentenv.errors import ConfigError
from agentenv.learn.losses.policy import sequence_sum

Mix = NDArray[numpy.float32]


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
    proximal_logprobs: torch.Tensor,
    behaviour_logprobs: torch.Tensor,
    sequences: torch.Tensor,
    *,
    cap: float | None = 2.0,
) -> torch.Tensor:
    """min(Π π_p / π_b over the sequence, cap) at each of its tokens: unbiased below the cap, with more variance.

    Args:
        sequences: which sequence each token belongs to, 0 … S − 1, shape [N].
    """
    log_ratios = (proximal_logprobs - behaviour_logprobs).detach()
    ratios = torch.exp(sequence_sum(log_ratios, sequences))
    return ratios if cap is None else ratios.clamp_max(cap)


def icepop_weights(
    proximal_logprobs: torch.Tensor, behaviour_logprobs: torch.Tensor, *, low: float = 0.5, high: float = 5.0
) -> torch.Tensor:
    """π_p / π_b of each token, and 0 outside [low, high]: tokens the two engines disagree on teach nothing (IcePop)."""
    ratios = token_weights(proximal_logprobs, behaviour_logprobs)
    return torch.where((ratios >= low) & (ratios <= high), ratios, torch.zeros_like(ratios))


def proximal_mix(behaviour_versions: NDArray[numpy.int64], *, proximal_version: int, version: int) -> Mix:
    """α = (v_p − v_b) / (v_θ − v_b) of each token, shape [T]: how far π_p lies from the sampler towards the policy.

    A token sampled by the proximal weights themselves, or by later ones, has α = 0: then π_p = π_b.

    Args:
        behaviour_versions: weight version that sampled each token, v_b, shape [T].
        proximal_version: v_p. version: v_θ, of the weights the update is making, above v_p.

    >>> proximal_mix(numpy.array([0, 2, 3]), proximal_version=3, version=4).tolist()
    [0.75, 0.5, 0.0]
    """
    if version <= proximal_version:
        raise ConfigError(
            f"the version being made ({version}) must be later than the proximal one ({proximal_version})"
        )
    behind = numpy.maximum(proximal_version - behaviour_versions, 0)
    mix: Mix = (behind / (behind + (version - proximal_version))).astype(numpy.float32)
    return mix


def interpolated_logprobs(logprobs: torch.Tensor, behaviour_logprobs: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """log π_p = log π_b + α (log π_θ − log π_b), a constant, without a forward pass (log-linear proximal policy)."""
    return behaviour_logprobs + mix * (logprobs.detach() - behaviour_logprobs)
