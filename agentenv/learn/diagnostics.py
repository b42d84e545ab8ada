"""What an update reports: sums over sampled tokens while it runs, typed numbers when it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from agentenv.learn.losses import kl_k1, kl_k3
from agentenv.learn.objective import TokenLosses


@dataclass(frozen=True, slots=True)
class UpdateDiagnostics:
    """One update, over the sampled tokens it trained on. `nan` where there was nothing to measure.

    Attributes:
        steps: optimizer steps taken.
        rows, skipped_rows: offered, and left out because they had no advantage.
        tokens: sampled tokens trained on, once for each pass. padded_tokens: positions the forward passes ran over.
        loss: mean over the steps.
        gradient_norm: mean over the steps, before clipping. gradient_norm_max: the largest.
        entropy: mean over tokens, in nats, of the distribution each was sampled from as the learner sees it.
        ratio_mean, ratio_max: of π_θ / π_p at each token's turn in the update.
        clip_fraction_low, clip_fraction_high: share of tokens the clip cut out of the gradient, at each side.
        kl_k1, kl_k3: estimates of KL(π_p ‖ π_θ), in nats per token.
        kl_reference: the estimate of KL(π_θ ‖ π_ref), in nats per token.
        correction_mean: of the outer weights. correction_dropped: share of tokens they left out altogether.
        mismatch_mean, mismatch_max: |log π_θ − log π_b| over the first step's tokens before any step was taken: how far
            the sampler's log-probabilities are from the learner's. Rounding alone when the weights are the same.
        mismatch_kl: the k3 estimate of KL(π_b ‖ π_θ) over the same tokens.
        value_loss: mean over tokens. value_gradient_norm: mean over the steps, before clipping.
        skipped_steps: steps that were not taken because their gradient was too long (alarm `gradient_spike`).
        split_batches: micro-batches that did not fit into memory and were tried again in halves.
    """

    steps: int
    rows: int
    skipped_rows: int
    tokens: int
    padded_tokens: int
    loss: float
    gradient_norm: float
    gradient_norm_max: float
    entropy: float
    ratio_mean: float
    ratio_max: float
    clip_fraction_low: float
    clip_fraction_high: float
    kl_k1: float
    kl_k3: float
    kl_reference: float
    correction_mean: float
    correction_dropped: float
    mismatch_mean: float
    mismatch_max: float
    mismatch_kl: float
    value_loss: float
    value_gradient_norm: float
    skipped_steps: int
    split_batches: int


@dataclass(slots=True)
class Tally:
    """Sums of a running update."""

    rows: int
    skipped_rows: int
    tokens: int = 0
    padded_tokens: int = 0
    mismatch_tokens: int = 0
    skipped_steps: int = 0
    split_batches: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    ratio_max: float = math.nan
    mismatch_max: float = math.nan
    gradient_norms: list[float] = field(default_factory=list)
    value_gradient_norms: list[float] = field(default_factory=list)

    def add_batch(self, tokens: int, padded: int, loss: float) -> None:
        """Counts one micro-batch and what it adds to the loss of its step."""
        self.tokens += tokens
        self.padded_tokens += padded
        self._sum("loss", loss)

    def add_policy(self, told: TokenLosses, entropies: torch.Tensor) -> None:
        """Counts what the objective said of a micro-batch's tokens."""
        ratios = told.log_ratios.exp()
        self.ratio_max = _larger(self.ratio_max, float(ratios.max()))
        self._sum("ratio", float(ratios.sum()))
        self._sum("entropy", float(entropies.detach().sum()))
        self._sum("k1", float(kl_k1(told.log_ratios).sum()))
        self._sum("k3", float(kl_k3(told.log_ratios).sum()))
        self._sum("clipped_low", float(told.clipped_low.sum()))
        self._sum("clipped_high", float(told.clipped_high.sum()))
        if told.corrections is not None:
            self._sum("correction", float(told.corrections.sum()))
            self._sum("dropped", float((told.corrections == 0).sum()))
        if told.divergence is not None:
            self._sum("reference", float(told.divergence.sum()))

    def add_mismatch(self, log_ratios: torch.Tensor) -> None:
        """Counts log π_θ − log π_b of tokens that were scored before any step was taken."""
        self.mismatch_tokens += len(log_ratios)
        self._sum("mismatch", float(log_ratios.abs().sum()))
        self._sum("mismatch_k3", float(kl_k3(log_ratios).sum()))
        self.mismatch_max = _larger(self.mismatch_max, float(log_ratios.abs().max()))

    def add_values(self, losses: torch.Tensor) -> None:
        """Counts the value losses of a micro-batch's tokens."""
        self._sum("value_loss", float(losses.detach().sum()))

    def stepped(self, gradient_norm: float | None, value_gradient_norm: float | None) -> None:
        """Counts one optimizer step; `None` for the part that was not trained."""
        if gradient_norm is not None:
            self.gradient_norms.append(gradient_norm)
        if value_gradient_norm is not None:
            self.value_gradient_norms.append(value_gradient_norm)

    def finish(self, steps: int) -> UpdateDiagnostics:
        """The means."""
        norms = self.gradient_norms
        return UpdateDiagnostics(
            steps=steps,
            rows=self.rows,
            skipped_rows=self.skipped_rows,
            tokens=self.tokens,
            padded_tokens=self.padded_tokens,
            loss=self._mean("loss", steps),
            gradient_norm=_mean(norms),
            gradient_norm_max=max(norms, default=math.nan),
            entropy=self._mean("entropy", self.tokens),
            ratio_mean=self._mean("ratio", self.tokens),
            ratio_max=self.ratio_max,
            clip_fraction_low=self._mean("clipped_low", self.tokens),
            clip_fraction_high=self._mean("clipped_high", self.tokens),
            kl_k1=self._mean("k1", self.tokens),
            kl_k3=self._mean("k3", self.tokens),
            kl_reference=self._mean("reference", self.tokens),
            correction_mean=self._mean("correction", self.tokens),
            correction_dropped=self._mean("dropped", self.tokens),
            mismatch_mean=self._mean("mismatch", self.mismatch_tokens),
            mismatch_max=self.mismatch_max,
            mismatch_kl=self._mean("mismatch_k3", self.mismatch_tokens),
            value_loss=self._mean("value_loss", self.tokens),
            value_gradient_norm=_mean(self.value_gradient_norms),
            skipped_steps=self.skipped_steps,
            split_batches=self.split_batches,
        )

    def _sum(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _mean(self, name: str, count: int) -> float:
        return self.sums[name] / count if count and name in self.sums else math.nan


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _larger(known: float, new: float) -> float:
    return new if math.isnan(known) or new > known else known
