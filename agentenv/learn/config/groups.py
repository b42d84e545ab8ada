"""What is done to groups before they are learnt from."""

from __future__ import annotations

from typing import Self

import pydantic

from agentenv.learn.config.strict import Strict


class OverlongConfig(Strict):
    """A price on long answers: 0 up to `maximum − cushion` sampled tokens an episode, −`weight` at `maximum`."""

    maximum: int = pydantic.Field(ge=1)
    cushion: int = pydantic.Field(ge=1)
    weight: float = pydantic.Field(default=1.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cushion > self.maximum:
            raise ValueError(f"cushion = {self.cushion} is longer than maximum = {self.maximum}")
        return self


class GroupsConfig(Strict):
    """Selection and shaping of the episodes of a group.

    Attributes:
        success: the return from which on an episode counts as correct, for the two below.
        dynamic_sampling: groups in which all or none are correct are drawn anew (DAPO).
        most_draws: groups drawn for one update before it makes do with what it has, in multiples of
            `tasks_per_iteration`.
        resample_on_correct: half of each group is kept: failures at random, successes the cleaner the likelier
            (GRPO-RoC). `siblings` is the oversampled number. How unclean an episode is, its environment's metrics say:
            `tool_errors` for each of `tool_calls`, and `format_error`.
        overlong: see its type.
    """

    success: float = 1.0
    dynamic_sampling: bool = False
    most_draws: float = pydantic.Field(default=4.0, ge=1)
    resample_on_correct: bool = False
    overlong: OverlongConfig | None = None
