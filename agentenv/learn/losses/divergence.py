"""How far two policies are apart, estimated on tokens that one of them sampled; and the coefficient that bounds it.

The estimators take log(q / p) of tokens sampled from p, shape [N], and estimate KL(p ‖ q) in nats. For the divergence
of the trained policy from a reference on its own samples that is log π_ref − log π_θ (Schulman, "Approximating KL
divergence", 2020).
"""

from __future__ import annotations

import torch

from agentenv.errors import ConfigError


def kl_k1(log_ratios: torch.Tensor) -> torch.Tensor:
    """−log(q/p): unbiased, but of either sign on a single token."""
    return -log_ratios


def kl_k2(log_ratios: torch.Tensor) -> torch.Tensor:
    """(log q/p)² / 2: never negative, biased; its *gradient* is that of the divergence."""
    return log_ratios.square() / 2


def kl_k3(log_ratios: torch.Tensor) -> torch.Tensor:
    """q/p − 1 − log(q/p): unbiased and never negative."""
    return torch.expm1(log_ratios) - log_ratios


class AdaptiveCoefficient:
    """A coefficient that keeps the divergence near a target; without a target it stays as it is.

    β ← β · (1 + gain · clip(KL / target − 1, −0.2, 0.2)) after each update (Ziegler et al. 2019,
    https://arxiv.org/abs/1909.08593, section 2.2).

    >>> coefficient = AdaptiveCoefficient(0.1, target=1.0, gain=0.5)
    >>> round(coefficient.update(9.0), 6)
    0.11
    """

    def __init__(self, start: float, *, target: float | None, gain: float = 0.1) -> None:
        if start <= 0 or gain <= 0 or (target is not None and target <= 0):
            raise ConfigError(f"start, target and gain must be positive, got {start}, {target} and {gain}")
        self.value = start
        self._target = target
        self._gain = gain

    def update(self, divergence: float) -> float:
        """Learns the divergence of the last update and returns the coefficient for the next."""
        if self._target is None:
            return self.value
        error = min(0.2, max(-0.2, divergence / self._target - 1.0))
        self.value *= 1.0 + self._gain * error
        return self.value
