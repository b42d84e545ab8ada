"""What models say of rows that are already there: log-probabilities and values, without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agentenv.learn.batches import MicroBatch, micro_batches, pad
from agentenv.learn.config import Batching
from agentenv.learn.critic import Critic
from agentenv.learn.losses import token_distribution
from agentenv.learn.memory import in_halves
from agentenv.learn.model import Forward, evaluating
from agentenv.learn.parallel import Parallel
from agentenv.learn.streams import Stream, TokenRow

Batch = MicroBatch[TokenRow]


@dataclass(frozen=True, slots=True)
class Passes:
    """How rows go through a model: see `LearnerConfig` for `max_tokens` and `batching`."""

    max_tokens: int
    batching: Batching
    device: torch.device
    parallel: Parallel


def logprobs_of(forward: Forward, rows: Sequence[TokenRow], passes: Passes, *, temperature: float) -> list[Stream]:
    """log π of every sampled token, at the temperature it was sampled with: one stream [T] a row, in their order."""

    def of_batch(batch: Batch) -> torch.Tensor:
        logits = forward(batch.inputs.to(passes.device)).logits
        return token_distribution(logits, batch.targets.to(passes.device), temperature).logprobs

    with evaluating(forward):
        return _score(rows, passes, of_batch)


def values_of(forward: Forward, critic: Critic, rows: Sequence[TokenRow], passes: Passes) -> list[Stream]:
    """V before every sampled token: one stream [T] a row, in their order."""

    def of_batch(batch: Batch) -> torch.Tensor:
        inputs = batch.inputs.to(passes.device)
        states = forward(inputs).states if critic.shares_layers else None
        values: torch.Tensor = critic(inputs, states)
        return values

    with evaluating(forward), evaluating(critic):
        return _score(rows, passes, of_batch)


@torch.no_grad()
def _score(rows: Sequence[TokenRow], passes: Passes, of_batch: Callable[[Batch], torch.Tensor]) -> list[Stream]:
    if not rows:
        return []
    share = passes.parallel.share(len(rows))
    spare = pad([min(rows, key=lambda row: len(row.ids))])

    def attempt(max_tokens: int) -> dict[int, Stream]:
        found: dict[int, Stream] = {}
        batches = micro_batches([rows[index] for index in share], max_tokens, passes.batching)
        for batch in passes.parallel.level(batches, spare):
            for row, stream in zip(batch.rows, batch.scatter(of_batch(batch)), strict=True):
                found[id(row)] = stream
        return found

    found = in_halves(attempt, rows, passes.max_tokens, alone=passes.parallel.size == 1)
    parts = passes.parallel.gather({index: found[id(rows[index])] for index in share})
    everything = {index: stream for part in parts for index, stream in part.items()}
    return [everything[index] for index in range(len(rows))]
