"""The critic, which estimates what is still to come."""

from __future__ import annotations

from enum import StrEnum

import pydantic

from agentenv.learn.config.strict import Strict


class CriticKind(StrEnum):
    """`HEAD`: a linear map on the policy's last hidden states. `SEPARATE`: a model of its own, begun as a copy."""

    HEAD = "head"
    SEPARATE = "separate"


class PretrainingConfig(Strict):
    """Iterations at the start in which only the critic learns, on Monte-Carlo returns of the frozen policy.

    They end when the explained variance on rollouts not yet learnt from has not risen by `rise` for `patience`
    iterations, or after `most`. They count as iterations.
    """

    most: int = pydantic.Field(default=10, ge=1)
    patience: int = pydantic.Field(default=2, ge=1)
    rise: float = pydantic.Field(default=0.02, ge=0)


class CriticConfig(Strict):
    """How values are learnt.

    Attributes:
        lr: of the critic's own parameters.
        coefficient: of the value loss, where the critic shares the policy's layers.
        clip: values that have moved further than this from those before the update are not pulled further.
        share_gradient: whether a `HEAD`'s loss also changes the layers it shares with the policy.
        pretraining: `None` starts policy and critic together.
    """

    kind: CriticKind = CriticKind.SEPARATE
    lr: float = pydantic.Field(default=1e-3, gt=0)
    coefficient: float = pydantic.Field(default=0.5, gt=0)
    clip: float | None = pydantic.Field(default=None, gt=0)
    share_gradient: bool = True
    pretraining: PretrainingConfig | None = PretrainingConfig()
