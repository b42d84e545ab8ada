"""Where a run's numbers go besides its own folder."""

from __future__ import annotations

from enum import StrEnum


class Tracking(StrEnum):
    """Programs that show the numbers of runs (`agentenv.learn.tracking`)."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
