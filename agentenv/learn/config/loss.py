"""Which policy loss a run uses, and what is added to it. The definitions are in `agentenv.learn.losses`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

import pydantic

from agentenv.learn.aggregation import Aggregation
from agentenv.learn.config.strict import Strict, kind_or


class Proximal(StrEnum):
    """π_p, the policy that the ratio u = π_θ / π_p is measured against.

    `BEHAVIOUR`: the sampler, by the log-probabilities it reported. `RECOMPUTED`: the learner's weights at the start of
    the update, by a forward pass of its own. `LOG_LINEAR`: between the two by their versions, without that pass
    (`losses.log_linear_proximal`).
    """

    BEHAVIOUR = "behaviour"
    RECOMPUTED = "recomputed"
    LOG_LINEAR = "log_linear"


class Correction(StrEnum):
    """The weight, a constant, that makes up for sampling by π_b what is learnt as if sampled by π_p.

    `TOKEN`: min(π_p / π_b, cap) of each token: truncated importance sampling, and the outer weight of decoupled PPO.
    `SEQUENCE`: the same of a row's product. `ICEPOP`: π_p / π_b, 0 outside [low, high].
    """

    TOKEN = "token"
    SEQUENCE = "sequence"
    ICEPOP = "icepop"


class CorrectionConfig(Strict):
    """How the mismatch between sampler and learner is corrected.

    Attributes:
        cap: of `TOKEN` and `SEQUENCE`; `None` leaves the weight unbounded.
        low, high: of `ICEPOP`.
    """

    kind: Correction = Correction.TOKEN
    cap: float | None = pydantic.Field(default=2.0, gt=0)
    low: float = pydantic.Field(default=0.5, gt=0)
    high: float = pydantic.Field(default=5.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must lie below high = {self.high}")
        return self


class KlPlacement(StrEnum):
    """Where the divergence from the reference enters: the reward of each token, or the loss. They are not the same."""

    REWARD = "reward"
    LOSS = "loss"


class KlEstimator(StrEnum):
    """k1 = d, k2 = d²/2, k3 = e^−d + d − 1 with d = log π_θ − log π_ref."""

    K1 = "k1"
    K2 = "k2"
    K3 = "k3"


class KlConfig(Strict):
    """A price on leaving the reference, the model the iterations started from.

    Attributes:
        coefficient: β, of the first update.
        target: nats per sampled token that an adaptive coefficient steers for; `None` keeps it fixed. gain: how fast.
    """

    coefficient: float = pydantic.Field(default=0.01, gt=0)
    placement: KlPlacement = KlPlacement.LOSS
    estimator: KlEstimator = KlEstimator.K3
    target: float | None = pydantic.Field(default=None, gt=0)
    gain: float = pydantic.Field(default=0.1, gt=0)

    @pydantic.model_validator(mode="after")
    def _has_gradient(self) -> Self:
        if self.placement is KlPlacement.LOSS and self.estimator is KlEstimator.K1:
            raise ValueError("k1 in the loss has a gradient of mean zero and holds nothing back: take k2 or k3")
        if self.placement is KlPlacement.REWARD and self.estimator is not KlEstimator.K1:
            raise ValueError("in the reward only k1 is an unbiased price of each token: take estimator = 'k1'")
        return self


class _Loss(Strict):
    """What all losses share.

    Attributes:
        proximal, correction: see their types.
        kl: `None` leaves the policy free.
        entropy_bonus: times the mean entropy, subtracted from the loss.
        aggregation: how token losses are weighted against each other.
        constant_length: L of `Aggregation.SEQUENCE_SUM_CONSTANT`.
    """

    proximal: Proximal = Proximal.BEHAVIOUR
    correction: CorrectionConfig | None = None
    kl: KlConfig | None = None
    entropy_bonus: float = pydantic.Field(default=0.0, ge=0)
    aggregation: Aggregation = Aggregation.EPISODE_MEAN
    constant_length: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> Self:
        constant = self.aggregation is Aggregation.SEQUENCE_SUM_CONSTANT
        if constant != (self.constant_length is not None):
            raise ValueError("aggregation = 'sequence_sum_constant' and constant_length belong together")
        if self.correction is not None and self.proximal is Proximal.BEHAVIOUR:
            raise ValueError(
                "a correction weighs π_p against the sampler, and with proximal = 'behaviour' they are the same: "
                "take proximal = 'recomputed' or 'log_linear'"
            )
        sequences = self.correction is not None and self.correction.kind is Correction.SEQUENCE
        if sequences and self.proximal is Proximal.LOG_LINEAR:
            raise ValueError("log_linear interpolates token by token and says nothing of a sequence's product")
        return self


class Reinforce(_Loss):
    """−A log π_θ."""

    kind: Literal["reinforce"] = "reinforce"


class Unclipped(_Loss):
    """−u A."""

    kind: Literal["unclipped"] = "unclipped"


class _Clipped(_Loss):
    clip_low: float = pydantic.Field(default=0.2, gt=0, lt=1)
    clip_high: float = pydantic.Field(default=0.28, gt=0)


class PpoClip(_Clipped):
    """PPO's clipped ratio, by default clipped higher upwards (see `losses.ppo_clip`).

    Attributes:
        clip_low, clip_high: the ratio is clipped to [1 − clip_low, 1 + clip_high].
        dual_clip: c > 1 bounds the loss of a token with A < 0 by −c A.
    """

    kind: Literal["ppo_clip"] = "ppo_clip"
    dual_clip: float | None = pydantic.Field(default=None, gt=1)


class Gspo(_Clipped):
    """The clip on the geometric mean of a row's ratios (see `losses.gspo`)."""

    kind: Literal["gspo"] = "gspo"
    clip_low: float = pydantic.Field(default=3e-4, gt=0, lt=1)
    clip_high: float = pydantic.Field(default=4e-4, gt=0)


class Cispo(_Clipped):
    """The clipped ratio as a constant weight (see `losses.cispo`)."""

    kind: Literal["cispo"] = "cispo"


class Dppo(_Loss):
    """The bound on the difference of probabilities (see `losses.dppo`)."""

    kind: Literal["dppo"] = "dppo"
    furthest: float = pydantic.Field(default=0.2, gt=0, lt=1)


LossConfig = Annotated[
    Annotated[Reinforce, pydantic.Tag("reinforce")]
    | Annotated[Unclipped, pydantic.Tag("unclipped")]
    | Annotated[PpoClip, pydantic.Tag("ppo_clip")]
    | Annotated[Gspo, pydantic.Tag("gspo")]
    | Annotated[Cispo, pydantic.Tag("cispo")]
    | Annotated[Dppo, pydantic.Tag("dppo")],
    pydantic.Discriminator(kind_or("ppo_clip")),
]
