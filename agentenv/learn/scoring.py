"""What models say of rows that are already there: log-probabilities and values, without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from agentenv.learn.batches import MicroBatch, micro_batches
from agentenv.learn.critic import Critic
from agentenv.learn.losses import token_distribution
from agentenv.learn.model import Forward
from agentenv.learn.streams import Stream, TokenRow

Batch = MicroBatch[TokenRow]


def logprobs_of(
    forward: Forward, rows: Sequence[TokenRow], *, temperature: float, max_tokens: int, device: torch.device
) -> list[Stream]:
    """log π of every sampled token, at the temperature it was sampled with: one stream [T] a row, in their order."""

    def of_batch(batch: Batch) -> torch.Tensor:
        logits = forward(batch.ids.to(device), batch.predictors.to(device)).logits
        return token_distribution(logits, batch.targets.to(device), temperature).logprobs

    return _score(rows, max_tokens, of_batch)


def values_of(
    forward: Forward, critic: Critic, rows: Sequence[TokenRow], *, max_tokens: int, device: torch.device
) -> list[Stream]:
    """V before every sampled token: one stream [T] a row, in their order."""

    def of_batch(batch: Batch) -> torch.Tensor:
        ids, positions = batch.ids.to(device), batch.predictors.to(device)
        states = forward(ids, positions).states if critic.shares_layers else None
        values: torch.Tensor = critic(ids, positions, states)
        return values

    return _score(rows, max_tokens, of_batch)


@torch.no_grad()
def _score(rows: Sequence[TokenRow], max_tokens: int, of_batch: Callable[[Batch], torch.Tensor]) -> list[Stream]:
    found: dict[int, Stream] = {}
    for batch in micro_batches(rows, max_tokens):
        for row, stream in zip(batch.rows, batch.scatter(of_batch(batch)), strict=True):
            found[id(row)] = stream
    return [found[id(row)] for row in rows]
