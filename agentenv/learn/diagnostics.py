"""What an update reports: sums over sampled tokens while it runs, typed numbers when it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from agentenv.learn.losses import clip_counts, kl_k1, kl_k3


@dataclass(frozen=True, slots=True)
class UpdateDiagnostics:
    """One update, over the sampled tokens it trained on. `nan` where there was nothing to measure.

    Attributes:
        steps: optimizer steps taken.
        rows, skipped_rows: offered, and left out because they had no advantage.
        tokens: sampled tokens trained on.
        loss: mean over the steps.
        gradient_norm: mean over the steps, before clipping. gradient_norm_max: the largest.
        entropy: mean over tokens, in nats, of the distribution each was sampled from as the learner sees it.
        ratio_mean, ratio_max: of pi / behaviour at each token's turn in the update.
        clip_fraction_low, clip_fraction_high: share of tokens the clip cut out of the gradient, at each side.
        kl_k1, kl_k3: estimates of KL(behaviour || pi), in nats per token.
        mismatch_mean, mismatch_max: |log pi − log behaviour| over the first step's tokens before any step was taken:
            how far the sampler's logprobs are from the learner's for the same weights. Should be rounding alone.
    """

    steps: int
    rows: int
    skipped_rows: int
    tokens: int
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
    mismatch_mean: float
    mismatch_max: float


@dataclass(slots=True)
class Tally:
    """Sums of a running update."""

    rows: int
    skipped_rows: int
    tokens: int = 0
    mismatch_tokens: int = 0
    clipped_low: int = 0
    clipped_high: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    ratio_max: float = math.nan
    mismatch_max: float = math.nan
    gradient_norms: list[float] = field(default_factory=list)

    def add(
        self,
        *,
        loss: float,
        log_ratios: torch.Tensor,
        advantages: torch.Tensor,
        entropies: torch.Tensor,
        clip_low: float,
        clip_high: float,
        before_any_step: bool,
    ) -> None:
        """Counts one micro-batch; all tensors have shape [N], one entry per sampled token."""
        self.tokens += len(log_ratios)
        clipped = clip_counts(log_ratios, advantages, clip_low=clip_low, clip_high=clip_high)
        self.clipped_low += clipped.low
        self.clipped_high += clipped.high
        ratios = log_ratios.exp()
        self.ratio_max = _larger(self.ratio_max, float(ratios.max()))
        self._sum("loss", loss)
        self._sum("entropy", float(entropies.sum()))
        self._sum("ratio", float(ratios.sum()))
        self._sum("k1", float(kl_k1(log_ratios).sum()))
        self._sum("k3", float(kl_k3(log_ratios).sum()))
        if before_any_step:
            self.mismatch_tokens += len(log_ratios)
            self._sum("mismatch", float(log_ratios.abs().sum()))
            self.mismatch_max = _larger(self.mismatch_max, float(log_ratios.abs().max()))

    def stepped(self, gradient_norm: float) -> None:
        """Counts one optimizer step."""
        self.gradient_norms.append(gradient_norm)

    def finish(self) -> UpdateDiagnostics:
        """The means."""
        steps = len(self.gradient_norms)
        return UpdateDiagnostics(
            steps=steps,
            rows=self.rows,
            skipped_rows=self.skipped_rows,
            tokens=self.tokens,
            loss=self._mean("loss", steps),
            gradient_norm=math.fsum(self.gradient_norms) / steps if steps else math.nan,
            gradient_norm_max=max(self.gradient_norms, default=math.nan),
            entropy=self._mean("entropy", self.tokens),
            ratio_mean=self._mean("ratio", self.tokens),
            ratio_max=self.ratio_max,
            clip_fraction_low=self.clipped_low / self.tokens if self.tokens else math.nan,
            clip_fraction_high=self.clipped_high / self.tokens if self.tokens else math.nan,
            kl_k1=self._mean("k1", self.tokens),
            kl_k3=self._mean("k3", self.tokens),
            mismatch_mean=self._mean("mismatch", self.mismatch_tokens),
            mismatch_max=self.mismatch_max,
        )

    def _sum(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _mean(self, name: str, count: int) -> float:
        return self.sums[name] / count if count else math.nan


def _larger(known: float, new: float) -> float:
    return new if math.isnan(known) or new > known else known
