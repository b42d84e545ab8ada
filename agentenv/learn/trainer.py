"""The trainer: rows with per-token streams in, new weights and typed diagnostics out. It knows no algorithm."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from typing import Any

import torch

from agentenv.learn.batches import MicroBatch, micro_batches, minibatches
from agentenv.learn.config import LearnerConfig
from agentenv.learn.diagnostics import Tally, UpdateDiagnostics
from agentenv.learn.errors import DivergedError, UpdateStoppedError
from agentenv.learn.losses import ppo_clip, token_distribution, weighted_sum
from agentenv.learn.model import SampledLogits
from agentenv.learn.streams import TrainingRow, check_row


class Trainer:
    """Owns the model's optimizer and turns batches of rows into optimizer steps.

    One thread at a time may call it; `stop` may be called from any. Nothing it does depends on the size of a
    micro-batch but speed and memory.

    Args:
        model: a causal language model (see `load_model`); its parameters are updated in place.
        temperature: the one the rows were sampled at.
    """

    def __init__(self, model: Any, config: LearnerConfig, *, temperature: float = 1.0) -> None:
        self.model = model
        self._config = config
        self._temperature = temperature
        self._logits = SampledLogits(model)
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=config.lr, betas=config.betas, eps=config.epsilon, weight_decay=config.weight_decay
        )
        self._context = getattr(model.config, "max_position_embeddings", None)
        self._device = self._parameters[0].device
        self._stopped = threading.Event()

    def update(self, rows: Sequence[TrainingRow], rng: random.Random) -> UpdateDiagnostics:
        """One pass over the rows in `minibatches` optimizer steps.

        Rows without any advantage are left out first: they would cost a forward pass and give no gradient. `rng` deals
        the episodes to the minibatches.

        Raises:
            InvalidRowError: a row that would poison the update; no step was taken.
            DivergedError: a gradient that is not finite; that step was not taken.
            UpdateStoppedError: `stop` was called.
        """
        for row in rows:
            check_row(row, self._context)
        useful = [row for row in rows if row.advantages[row.mask].any()]
        self.model.train()
        tally = Tally(len(rows), len(rows) - len(useful))
        for step, minibatch in enumerate(minibatches(useful, self._config.minibatches, rng)):
            total_weight = float(sum(row.weights[row.mask].sum(dtype="float64") for row in minibatch))
            for batch in micro_batches(minibatch, self._config.tokens_per_microbatch):
                if self._stopped.is_set():
                    self._optimizer.zero_grad()
                    raise UpdateStoppedError("the update was stopped before it was complete")
                self._accumulate(batch, total_weight, tally, first_step=step == 0)
            self._step(tally)
        return tally.finish()

    def stop(self) -> None:
        """Ends a running update at its next micro-batch and refuses later ones."""
        self._stopped.set()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state; the weights are the model's own."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)

    def _accumulate(self, batch: MicroBatch[TrainingRow], total_weight: float, tally: Tally, first_step: bool) -> None:
        config, device = self._config, self._device
        logits = self._logits(batch.ids.to(device), batch.predictors.to(device))
        distribution = token_distribution(logits, batch.targets.to(device), self._temperature)
        advantages = batch.stream(lambda row: row.advantages).to(device)
        behaviour = batch.stream(lambda row: row.behaviour_logprobs).to(device)
        losses = ppo_clip(
            distribution.logprobs, behaviour, advantages, clip_low=config.clip_low, clip_high=config.clip_high
        )
        loss = weighted_sum(losses, batch.weights.to(device), total_weight)
        loss.backward()  # type: ignore[no-untyped-call]
        tally.add(
            loss=float(loss.detach()),
            log_ratios=distribution.logprobs.detach() - behaviour,
            advantages=advantages,
            entropies=distribution.entropies,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            before_any_step=first_step,
        )

    def _step(self, tally: Tally) -> None:
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm))
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise DivergedError("the gradient is not finite: lower learner.lr or look at the rows of this iteration")
        self._optimizer.step()
        self._optimizer.zero_grad()
        tally.stepped(norm)
