"""What a model's logits say of the sampled tokens, in little memory.

A vocabulary makes logits the largest tensor of an update by far. Written as `log_softmax` and a sum, log-probabilities
and entropies take four tensors of that size; here they take the logits and, on the way back, their gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

_CACHED, _LAUNCHED = 2**20, 2**24
"""Logits worked on at a time: few enough for a processor's cache, enough to be worth an accelerator's kernels."""


@dataclass(frozen=True, slots=True)
class TokenDistribution:
    """log π of each sampled token (differentiable) and the entropy of the distribution it came from."""

    logprobs: torch.Tensor
    entropies: torch.Tensor


def token_distribution(
    logits: torch.Tensor, sampled: torch.Tensor, temperature: float = 1.0, *, entropy_gradient: bool = False
) -> TokenDistribution:
    """log softmax(z / T)[sampled] and H = −Σ p log p, in nats; in float32 at least.

    Args:
        logits: z, shape [N, V].
        sampled: token ids, shape [N].
        temperature: T > 0, the one the tokens were sampled with, so that the ratio compares like with like.
        entropy_gradient: true keeps the entropies differentiable, for an entropy bonus.
    """
    logprobs, entropies = _Distribution.apply(logits, sampled, temperature)  # type: ignore[no-untyped-call]
    return TokenDistribution(logprobs, entropies if entropy_gradient else entropies.detach())


class _Distribution(torch.autograd.Function):
    """Rows of logits, some at a time. Only the logits are kept for the way back, where probabilities are made anew."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, sampled: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """With d = z/T − max z/T and s = Σ e^d: log π(a) = d_a − log s, and H = log s − Σ d e^d / s."""
        wide = torch.promote_types(logits.dtype, torch.float32)
        logprobs, entropies, normalizers = torch.empty(3, len(logits), dtype=wide, device=logits.device).unbind()
        for rows in _parts(logits):
            scaled = _scaled(logits[rows], temperature)
            highest = scaled.amax(-1, keepdim=True)
            below = scaled - highest
            weights = below.exp()
            total = weights.sum(-1)
            normalizers[rows] = total.log() + highest[:, 0]
            logprobs[rows] = below.gather(-1, sampled[rows, None])[:, 0] - total.log()
            entropies[rows] = total.log() - weights.mul_(below).sum(-1) / total
        ctx.save_for_backward(logits, sampled, normalizers, entropies)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor, None, None]:
        """∂ log π(a) / ∂z_j = (1[j = a] − p_j) / T and ∂H / ∂z_j = −p_j (log p_j + H) / T."""
        logits, sampled, normalizers, entropies = ctx.saved_tensors
        of_logprobs, of_entropies = (None if each is None else each[:, None] / ctx.temperature for each in gradients)
        if of_logprobs is None:
            of_logprobs = torch.zeros_like(normalizers)[:, None]
        found = torch.empty_like(logits)
        for rows in _parts(logits):
            logs = _scaled(logits[rows], ctx.temperature) - normalizers[rows, None]
            factors = -of_logprobs[rows]
            if of_entropies is not None:
                factors = factors - of_entropies[rows] * (logs + entropies[rows, None])
            part = logs.exp_().mul_(factors)
            found[rows] = part.scatter_add_(-1, sampled[rows, None], of_logprobs[rows])
        return found, None, None


def _scaled(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide if temperature == 1.0 else wide / temperature


def _parts(logits: torch.Tensor) -> Iterator[slice]:
    """The rows of [N, V] in stretches that are worked on at a time, at least one row each."""
    step = max(1, (_CACHED if logits.device.type == "cpu" else _LAUNCHED) // logits.shape[-1])
    return (slice(start, start + step) for start in range(0, len(logits), step))
