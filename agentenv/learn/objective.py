"""The loss of a run, put together from its configuration: tensors of one entry per sampled token in, losses out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agentenv.learn import losses
from agentenv.learn.config import Correction, CorrectionConfig, KlEstimator, KlPlacement, LossConfig, Proximal
from agentenv.learn.config import loss as kinds


@dataclass(frozen=True, slots=True)
class Tokens:
    """The sampled tokens of a micro-batch, shape [N] each; `logprobs` and `entropies` are differentiable.

    Attributes:
        logprobs: log π_θ. entropies: of the distribution each token came from.
        behaviour_logprobs, old_logprobs, proximal_mix, reference_logprobs, advantages: see `TrainingRow`.
        sequences: which row each token belongs to.
    """

    logprobs: torch.Tensor
    entropies: torch.Tensor
    advantages: torch.Tensor
    behaviour_logprobs: torch.Tensor
    sequences: torch.Tensor
    old_logprobs: torch.Tensor | None = None
    proximal_mix: torch.Tensor | None = None
    reference_logprobs: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """What the objective says of each token, shape [N].

    Attributes:
        losses: differentiable. log_ratios: log u = log π_θ − log π_p, detached.
        clipped_low, clipped_high: tokens the clip cut out of the gradient, at each side.
        corrections: the outer weights; `None` where there are none.
        divergence: the estimate of KL(π_θ ‖ π_ref), detached; `None` without a reference.
    """

    losses: torch.Tensor
    log_ratios: torch.Tensor
    clipped_low: torch.Tensor
    clipped_high: torch.Tensor
    corrections: torch.Tensor | None
    divergence: torch.Tensor | None


class Objective:
    """−J of the policy per token: the configured loss, its correction, divergence from a reference, entropy bonus."""

    def __init__(self, config: LossConfig) -> None:
        self._config = config

    @property
    def wants_reference(self) -> bool:
        """Whether rows must come with `reference_logprobs`."""
        kl = self._config.kl
        return kl is not None and kl.placement is KlPlacement.LOSS

    @property
    def advantage_alone(self) -> bool:
        """Whether a token without advantage has no gradient."""
        return not self.wants_reference and not self.entropy_counts

    @property
    def entropy_counts(self) -> bool:
        """Whether the entropies must be differentiable."""
        return self._config.entropy_bonus > 0.0

    def __call__(self, tokens: Tokens, kl_coefficient: float = 0.0) -> TokenLosses:
        """The losses of a micro-batch. `kl_coefficient` is β, which may change from update to update."""
        config = self._config
        old = self._old_logprobs(tokens)
        token_losses = self._policy_loss(tokens, old)
        corrections = None
        if config.correction is not None:
            corrections = correction_weights(config.correction, old, tokens.behaviour_logprobs, tokens.sequences)
            token_losses = token_losses * corrections
        divergence = None
        if self.wants_reference:
            divergence = self._divergence(tokens)
            token_losses = token_losses + kl_coefficient * divergence
            divergence = divergence.detach()
        if self.entropy_counts:
            token_losses = token_losses - config.entropy_bonus * tokens.entropies
        log_ratios = tokens.logprobs.detach() - old
        low, high = self._clipped(log_ratios, tokens)
        return TokenLosses(token_losses, log_ratios, low, high, corrections, divergence)

    def _old_logprobs(self, tokens: Tokens) -> torch.Tensor:
        match self._config.proximal:
            case Proximal.BEHAVIOUR:
                return tokens.behaviour_logprobs
            case Proximal.RECOMPUTED:
                return _given(tokens.old_logprobs, "old_logprobs")
            case Proximal.LOG_LINEAR:
                mix = _given(tokens.proximal_mix, "proximal_mix")
                return losses.interpolated_logprobs(tokens.logprobs, tokens.behaviour_logprobs, mix)

    def _policy_loss(self, tokens: Tokens, old: torch.Tensor) -> torch.Tensor:
        new, advantages = tokens.logprobs, tokens.advantages
        match self._config:
            case kinds.Reinforce():
                return losses.reinforce(new, advantages)
            case kinds.Unclipped():
                return losses.unclipped(new, old, advantages)
            case kinds.PpoClip(clip_low=low, clip_high=high, dual_clip=dual):
                return losses.ppo_clip(new, old, advantages, clip_low=low, clip_high=high, dual_clip=dual)
            case kinds.Gspo(clip_low=low, clip_high=high):
                return losses.gspo(new, old, advantages, tokens.sequences, clip_low=low, clip_high=high)
            case kinds.Cispo(clip_low=low, clip_high=high):
                return losses.cispo(new, old, advantages, clip_low=low, clip_high=high)
            case kinds.Dppo(furthest=furthest):
                return losses.dppo(new, old, advantages, furthest=furthest)

    def _divergence(self, tokens: Tokens) -> torch.Tensor:
        assert self._config.kl is not None
        estimator = losses.kl_k2 if self._config.kl.estimator is KlEstimator.K2 else losses.kl_k3
        return estimator(_given(tokens.reference_logprobs, "reference_logprobs") - tokens.logprobs)

    def _clipped(self, log_ratios: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        config = self._config
        match config:
            case kinds.PpoClip() | kinds.Cispo():
                ratios = log_ratios.exp()
            case kinds.Gspo():
                ratios = losses.sequence_mean(log_ratios, tokens.sequences).exp()
            case _:
                nothing = torch.zeros_like(log_ratios, dtype=torch.bool)
                return nothing, nothing
        advantages = tokens.advantages
        low = (advantages < 0) & (ratios < 1.0 - config.clip_low)
        high = (advantages > 0) & (ratios > 1.0 + config.clip_high)
        return low, high


def correction_weights(
    config: CorrectionConfig, proximal: torch.Tensor, behaviour: torch.Tensor, sequences: torch.Tensor
) -> torch.Tensor:
    """The outer weight of each token, a constant, shape [N]."""
    match config.kind:
        case Correction.TOKEN:
            return losses.token_weights(proximal, behaviour, cap=config.cap)
        case Correction.SEQUENCE:
            return losses.sequence_weights(proximal, behaviour, sequences, cap=config.cap)
        case Correction.ICEPOP:
            return losses.icepop_weights(proximal, behaviour, low=config.low, high=config.high)


def _given(stream: torch.Tensor | None, name: str) -> torch.Tensor:
    if stream is None:
        raise ValueError(f"the objective needs rows with {name}")
    return stream
