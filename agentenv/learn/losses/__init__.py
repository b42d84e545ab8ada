"""Losses, one number per sampled token; each a pure function with its equation and source.

`distribution`: log-probabilities and entropies, which the others are made of. `policy`: REINFORCE, PPO, GSPO, CISPO,
DPPO. `mismatch`: corrections when sampler and learner differ. `divergence`: KL estimators. `value`: the critic's.
`preference`: DPO.
"""

from __future__ import annotations

from agentenv.learn.losses.distribution import TokenDistribution, token_distribution
from agentenv.learn.losses.divergence import AdaptiveCoefficient, kl_k1, kl_k2, kl_k3
from agentenv.learn.losses.mismatch import (
    icepop_weights,
    interpolated_logprobs,
    proximal_mix,
    sequence_weights,
    token_weights,
)
from agentenv.learn.losses.policy import (
    cispo,
    dppo,
    gspo,
    ppo_clip,
    reinforce,
    sequence_mean,
    sequence_sum,
    unclipped,
    weighted_sum,
)
from agentenv.learn.losses.preference import dpo
from agentenv.learn.losses.value import value_loss

__all__ = [
    "AdaptiveCoefficient",
    "TokenDistribution",
    "cispo",
    "dpo",
    "dppo",
    "gspo",
    "icepop_weights",
    "interpolated_logprobs",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "ppo_clip",
    "proximal_mix",
    "reinforce",
    "sequence_mean",
    "sequence_sum",
    "sequence_weights",
    "token_distribution",
    "token_weights",
    "unclipped",
    "value_loss",
    "weighted_sum",
]
