"""Configuration of learning: what may be set, its defaults, and the combinations that make no sense."""

from __future__ import annotations

import pydantic

from agentenv.learn.aggregation import Aggregation
from agentenv.trajectory.rows import RowView


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LearnerConfig(_Strict):
    """How rows become optimizer steps.

    Attributes:
        lr: learning rate of AdamW, constant.
        minibatches: optimizer steps per update; the episodes are dealt out among them.
        clip_low, clip_high: the ratio is clipped to [1 − clip_low, 1 + clip_high].
        max_grad_norm: gradients are scaled down to this norm.
        tokens_per_microbatch: padded tokens per forward pass; changes speed and memory, never the result.
    """

    lr: float = pydantic.Field(3e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = pydantic.Field(1e-8, gt=0)
    weight_decay: float = pydantic.Field(0.0, ge=0)
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    minibatches: int = pydantic.Field(2, ge=1)
    clip_low: float = pydantic.Field(0.2, gt=0, lt=1)
    clip_high: float = pydantic.Field(0.28, gt=0)
    aggregation: Aggregation = Aggregation.EPISODE_MEAN
    row_view: RowView = RowView.MERGED
    divide_by_std: bool = True
    tokens_per_microbatch: int = pydantic.Field(4096, ge=1)


class SupervisedConfig(_Strict):
    """How demonstrations are learnt: AdamW, learning rate decayed linearly to 0."""

    steps: int = pydantic.Field(500, ge=1)
    rows_per_step: int = pydantic.Field(32, ge=1)
    lr: float = pydantic.Field(3e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = pydantic.Field(0.0, ge=0)
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    tokens_per_microbatch: int = pydantic.Field(4096, ge=1)
