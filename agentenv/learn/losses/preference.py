"""Direct preference optimisation, on pairs of answers to one task."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def dpo(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float = 0.1,
) -> torch.Tensor:
    """−log σ(β [(log π_θ − log π_ref)(chosen) − (log π_θ − log π_ref)(rejected)]) per pair, shape [P].

    Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7. Each argument is the log-probability of a whole
    answer, the sum over its sampled tokens, shape [P].
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -logsigmoid(beta * margin)
