"""The trainer: rows with per-token streams in, new weights and typed diagnostics out. It knows no algorithm by name."""

from __future__ import annotations

import copy
import dataclasses
import math
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from agentenv.errors import ConfigError
from agentenv.learn.batches import MicroBatch, micro_batches, minibatches, pad
from agentenv.learn.config import Batching, CriticConfig, IdleRows, LearnerConfig
from agentenv.learn.critic import Critic
from agentenv.learn.diagnostics import Tally, UpdateDiagnostics
from agentenv.learn.errors import DivergedError, UpdateStoppedError
from agentenv.learn.losses import token_distribution, value_loss, weighted_sum
from agentenv.learn.memory import in_halves
from agentenv.learn.model import Forward
from agentenv.learn.objective import Objective, Tokens
from agentenv.learn.parallel import Parallel
from agentenv.learn.scoring import Passes, logprobs_of, values_of
from agentenv.learn.streams import Stream, TokenRow, TrainingRow, check_row, weightless


@dataclass(frozen=True, slots=True)
class _Work:
    """What one update does: which parts it trains, and whether rows without advantage matter to it."""

    kl_coefficient: float
    policy: bool
    everything: bool
    step_limit: float | None = None


class Trainer:
    """Owns the optimizer of a model, and of its critic, and turns batches of rows into optimizer steps.

    One thread at a time may call it; `stop` may be called from any. Nothing it does depends on the size of a
    micro-batch but speed and memory.

    Args:
        model: a causal language model (see `load_model`); its parameters are updated in place.
        objective: the loss of each token.
        temperature: the one the rows were sampled at.
        critic: whose values the rows' `returns` are for; trained beside the policy.
        parallel: the processes that train together; each calls the same methods with the same arguments.

    Raises:
        ConfigError: packed rows for a model that would mix them up.
    """

    def __init__(
        self,
        model: Any,
        config: LearnerConfig,
        objective: Objective,
        *,
        temperature: float = 1.0,
        critic: Critic | None = None,
        critic_config: CriticConfig | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        self.critic = critic
        self._config = config
        self._critic_config = critic_config or CriticConfig()
        self._objective = objective
        self._temperature = temperature
        self._parallel = parallel or Parallel()
        self._forward = self.forward_of(model)
        if critic is not None:
            self._parallel.shard(critic)
        self._parameters = _trained(model)
        self._critic_parameters = [] if critic is None else _trained(critic)
        groups: list[dict[str, Any]] = [{"params": self._parameters, "lr": config.lr}]
        if critic is not None:
            groups.append({"params": self._critic_parameters, "lr": self._critic_config.lr})
        self._optimizer = torch.optim.AdamW(
            groups, betas=config.betas, eps=config.epsilon, weight_decay=config.weight_decay
        )
        self._context = getattr(model.config, "max_position_embeddings", None)
        device = self._parameters[0].device
        self._passes = Passes(config.tokens_per_microbatch, config.batching, device, self._parallel)
        self._stopped = threading.Event()

    def forward_of(self, model: Any) -> Forward:
        """A model, this one or another, as the trainer runs it."""
        forward = Forward(model, self._config.precision)
        if self._config.batching is Batching.PACKED and not forward.keeps_packed_rows_apart():
            raise ConfigError(
                f"{type(model).__name__} does not tell packed rows apart by their positions: "
                "take learner.batching = 'padded'"
            )
        self._parallel.shard(forward)
        return forward

    def logprobs(self, rows: Sequence[TokenRow], forward: Forward | None = None) -> list[Stream]:
        """log π of the rows' sampled tokens by the weights as they are, or by another model's: a stream [T] a row."""
        return logprobs_of(forward or self._forward, rows, self._passes, temperature=self._temperature)

    def values(self, rows: Sequence[TokenRow]) -> list[Stream]:
        """What the critic says before each sampled token: a stream [T] a row."""
        assert self.critic is not None
        return values_of(self._forward, self.critic, rows, self._passes)

    def update(
        self,
        rows: Sequence[TrainingRow],
        rng: random.Random,
        *,
        kl_coefficient: float = 0.0,
        critic_only: bool = False,
        step_limit: float | None = None,
    ) -> UpdateDiagnostics:
        """`epochs` passes over the rows in `minibatches` optimizer steps each.

        Rows without any advantage are left out where that changes no gradient: they would cost a forward pass. `rng`
        deals the episodes to the minibatches.

        Args:
            kl_coefficient: of the divergence from the reference.
            critic_only: leaves the policy as it is.
            step_limit: a step whose gradient's norm is at least this is not taken.

        Raises:
            InvalidRowError: a row that would poison the update; no step was taken.
            DivergedError: a gradient that is not finite; that step was not taken.
            OutOfMemoryError: a batch did not fit even when it was halved, or at all where others train along.
            UpdateStoppedError: `stop` was called.
        """
        for row in rows:
            check_row(row, self._context)
        everything = self._everything_counts
        useful = [row for row in rows if everything or not row.idle]
        counted = rows if self._config.idle_rows is IdleRows.COUNT else useful
        dealt = (
            minibatch
            for _ in range(self._config.epochs)
            for minibatch in minibatches(counted, self._config.minibatches, rng)
            if everything or not all(row.idle for row in minibatch)
        )
        work = _Work(kl_coefficient, policy=not critic_only, everything=everything, step_limit=step_limit)
        return self._steps(dealt, work, Tally(len(rows), len(rows) - len(useful)))

    def update_lazily(self, dealt: Iterable[Sequence[TrainingRow]]) -> UpdateDiagnostics:
        """One optimizer step for each minibatch, drawn only once the step before it has been taken.

        For losses whose streams depend on the weights as they are at that step. Raises as `update` does.
        """
        rows = 0

        def checked() -> Iterator[Sequence[TrainingRow]]:
            nonlocal rows
            for minibatch in dealt:
                for row in minibatch:
                    check_row(row, self._context)
                rows += len(minibatch)
                yield minibatch

        work = _Work(0.0, policy=True, everything=self._everything_counts)
        return dataclasses.replace(self._steps(checked(), work, Tally(0, 0)), rows=rows)

    @property
    def _everything_counts(self) -> bool:
        """Whether rows without advantage have a gradient too."""
        return self.critic is not None or not self._objective.advantage_alone

    def _steps(self, dealt: Iterable[Sequence[TrainingRow]], work: _Work, tally: Tally) -> UpdateDiagnostics:
        self._forward.train()
        if self.critic is not None:
            self.critic.train()
        steps = 0
        for minibatch in dealt:
            tally = self._gradient(minibatch, work, tally, before_any_step=steps == 0)
            self._step(tally, work)
            steps += 1
        return Tally.total(self._parallel.gather(tally)).finish(steps)

    def stop(self) -> None:
        """Ends a running update at its next micro-batch and refuses later ones."""
        self._stopped.set()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and the critic; the policy's weights are the model's own."""
        state: dict[str, Any] = {"optimizer": self._parallel.optimizer_state(self._optimizer)}
        if self.critic is not None:
            state["critic"] = self._parallel.state_of(self.critic)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.critic is not None:
            self._parallel.load(self.critic, state["critic"])
        self._parallel.load_optimizer(self._optimizer, state["optimizer"])

    def _gradient(self, minibatch: Sequence[TrainingRow], work: _Work, tally: Tally, *, before_any_step: bool) -> Tally:
        """Accumulates the gradient of a minibatch; returns the tally with it."""

        def attempt(budget: int) -> Tally:
            counts = copy.deepcopy(tally)
            try:
                self._accumulate(minibatch, work, budget, counts, before_any_step)
            except BaseException:
                self._optimizer.zero_grad()
                raise
            counts.split_batches += budget < self._config.tokens_per_microbatch
            return counts

        return in_halves(attempt, minibatch, self._config.tokens_per_microbatch, alone=self._parallel.size == 1)

    def _accumulate(
        self, minibatch: Sequence[TrainingRow], work: _Work, budget: int, tally: Tally, before_any_step: bool
    ) -> None:
        """Adds up the gradient of a minibatch, of which this process runs its share of the rows."""
        units = sum(row.units for row in minibatch)
        rows = sorted((row for row in minibatch if work.everything or not row.idle), key=lambda row: len(row.ids))
        ours = [rows[index] for index in self._parallel.share(len(rows))]
        spare = pad([weightless(rows[0])])
        for batch in self._parallel.level(micro_batches(ours, budget, self._config.batching), spare):
            if self._parallel.any(self._stopped.is_set()):
                raise UpdateStoppedError("the update was stopped before it was complete")
            counts = Tally(0, 0) if batch is spare else tally
            loss = self._loss(batch, work, units, counts, before_any_step)
            self._parallel.backward(loss)
            counts.add_batch(batch, float(loss.detach()))

    def _loss(
        self, batch: MicroBatch[TrainingRow], work: _Work, units: float, tally: Tally, before_any_step: bool
    ) -> torch.Tensor:
        """A micro-batch's part of the minibatch's loss, a scalar."""
        inputs = batch.inputs.to(self._passes.device)
        weights = self._stream(batch, "weights")
        assert weights is not None
        loss = weights.new_zeros(())
        states = None
        if work.policy or (self.critic is not None and self.critic.shares_layers):
            outputs = self._forward(inputs)
            states = outputs.states
            if work.policy:
                losses = self._policy_losses(batch, outputs.logits, work, tally, before_any_step)
                loss = loss + weighted_sum(losses, weights, units)
        if self.critic is not None:
            values = self.critic(inputs, states, frozen_policy=not work.policy)
            losses = self._value_losses(batch, values, tally)
            loss = loss + self._critic_config.coefficient * weighted_sum(losses, weights, units)
        return loss

    def _policy_losses(
        self, batch: MicroBatch[TrainingRow], logits: torch.Tensor, work: _Work, tally: Tally, before_any_step: bool
    ) -> torch.Tensor:
        distribution = token_distribution(
            logits,
            batch.targets.to(self._passes.device),
            self._temperature,
            entropy_gradient=self._objective.entropy_counts,
        )
        advantages, behaviour = self._stream(batch, "advantages"), self._stream(batch, "behaviour_logprobs")
        assert advantages is not None
        assert behaviour is not None
        told = self._objective(
            Tokens(
                logprobs=distribution.logprobs,
                entropies=distribution.entropies,
                advantages=advantages,
                behaviour_logprobs=behaviour,
                sequences=batch.sequences.to(self._passes.device),
                old_logprobs=self._stream(batch, "old_logprobs"),
                proximal_mix=self._stream(batch, "proximal_mix"),
                reference_logprobs=self._stream(batch, "reference_logprobs"),
            ),
            work.kl_coefficient,
        )
        tally.add_policy(told, distribution.entropies)
        if before_any_step:
            tally.add_mismatch(distribution.logprobs.detach() - behaviour)
        return told.losses

    def _value_losses(self, batch: MicroBatch[TrainingRow], values: torch.Tensor, tally: Tally) -> torch.Tensor:
        returns = self._stream(batch, "returns")
        if returns is None:
            raise ValueError("a critic needs rows with returns")
        old = self._stream(batch, "old_values")
        losses = value_loss(values, returns, old, clip=self._critic_config.clip)
        tally.add_values(losses)
        return losses

    def _stream(self, batch: MicroBatch[TrainingRow], name: str) -> torch.Tensor | None:
        """A stream of all rows of a batch, on the model's device; `None` where the rows have none."""
        if getattr(batch.rows[0], name) is None:
            return None
        stream = batch.stream(lambda row: getattr(row, name))
        return stream.to(self._passes.device)

    def _step(self, tally: Tally, work: _Work) -> None:
        policy_norm = self._clip(self._parameters, "policy") if work.policy else None
        critic_norm = self._clip(self._critic_parameters, "critic") if self.critic is not None else None
        if work.step_limit is None or policy_norm is None or policy_norm < work.step_limit:
            self._optimizer.step()
        else:
            tally.skipped_steps += 1
        self._optimizer.zero_grad()
        tally.stepped(policy_norm, critic_norm)

    def _clip(self, parameters: list[torch.nn.Parameter], whose: str) -> float:
        norm = float(self._parallel.whole(torch.nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm)))
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            setting = "learner.lr" if whose == "policy" else "critic.lr"
            raise DivergedError(
                f"the gradient of the {whose} is not finite: lower {setting} or look at the rows of this iteration"
            )
        return norm


def _trained(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
