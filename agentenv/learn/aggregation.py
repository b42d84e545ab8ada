"""How token losses are weighted against each other."""

from __future__ import annotations

from enum import StrEnum


class Aggregation(StrEnum):
    """How token losses become one number. Each is a weighted mean, so that micro-batches never change it.

    `EPISODE_MEAN`: every episode weighs 1, shared equally by all its sampled tokens in whatever rows they lie.
    `TOKEN_MEAN`: every sampled token of the batch weighs 1 (DAPO, https://arxiv.org/abs/2503.14476, equation 8).
    """

    EPISODE_MEAN = "episode_mean"
    TOKEN_MEAN = "token_mean"
