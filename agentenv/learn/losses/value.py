"""The critic's loss."""

from __future__ import annotations

import torch


def value_loss(
    values: torch.Tensor,
    returns: torch.Tensor,
    old_values: torch.Tensor | None = None,
    *,
    clip: float | None = None,
) -> torch.Tensor:
    """½ (V − R)² per token, shape [N].

    With `clip`, the larger of that and ½ (V_old + clamp(V − V_old, −clip, clip) − R)²: a value that has moved further
    than `clip` towards its target has no gradient (as in OpenAI's baselines; Schulman et al. give no equation).

    Args:
        values: V, differentiable. returns: R. old_values: V before the update, needed with `clip`.
    """
    plain = (values - returns).square()
    if clip is None:
        return plain / 2
    if old_values is None:
        raise ValueError("value clipping needs old_values")
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum(plain, (near - returns).square()) / 2
