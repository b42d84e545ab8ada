"""Supervised learning on demonstrations: the loss is -log pi of the masked tokens, nothing else is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from agentenv.learn.batches import micro_batches
from agentenv.learn.config import SupervisedConfig
from agentenv.learn.errors import DivergedError
from agentenv.learn.losses import token_distribution, weighted_sum
from agentenv.learn.model import Forward
from agentenv.learn.streams import WeightedRow, check_row


@dataclass(frozen=True, slots=True)
class SupervisedStep:
    """One optimizer step. `loss` is the weighted mean of -log pi in nats per token; `lr` the rate it was taken at."""

    step: int
    loss: float
    gradient_norm: float
    lr: float
    tokens: int


def linear_decay(step: int, steps: int, lr: float) -> float:
    """lr · (1 − step / steps): from `lr` at step 0 towards 0 at `steps`.

    >>> linear_decay(0, 4, 1.0), linear_decay(3, 4, 1.0)
    (1.0, 0.25)
    """
    return lr * (1.0 - step / steps)


def supervise(
    model: Any,
    demonstration: Callable[[int], WeightedRow],
    config: SupervisedConfig,
    on_step: Callable[[SupervisedStep], None],
) -> None:
    """Trains `model` in place for `config.steps` steps of AdamW with a linearly decaying learning rate.

    Args:
        demonstration: the row at an index; step k takes the `config.rows_per_step` rows from k · rows_per_step on. It
            should be pure: then the same configuration gives the same model.
        on_step: told after every step.

    Raises:
        InvalidRowError: a demonstration with nothing to learn or longer than the model's context.
        DivergedError: a loss or gradient that is not finite.
    """
    forward = Forward(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    context = getattr(model.config, "max_position_embeddings", None)
    device = parameters[0].device
    model.train()
    for step in range(config.steps):
        first = step * config.rows_per_step
        rows = [demonstration(index) for index in range(first, first + config.rows_per_step)]
        for row in rows:
            check_row(row, context)
        lr = linear_decay(step, config.steps, config.lr)
        for group in optimizer.param_groups:
            group["lr"] = lr
        units = sum(row.units for row in rows)
        mean, tokens = 0.0, 0
        for batch in micro_batches(rows, config.tokens_per_microbatch):
            logits = forward(batch.ids.to(device), batch.predictors.to(device)).logits
            losses = -token_distribution(logits, batch.targets.to(device)).logprobs
            loss = weighted_sum(losses, batch.stream(lambda row: row.weights).to(device), units)
            loss.backward()  # type: ignore[no-untyped-call]
            mean += float(loss.detach())
            tokens += len(losses)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        if not (math.isfinite(mean) and math.isfinite(norm)):
            raise DivergedError(f"supervised step {step}: loss {mean}, gradient norm {norm}; lower the learning rate")
        optimizer.step()
        optimizer.zero_grad()
        on_step(SupervisedStep(step, mean, norm, lr, tokens))
