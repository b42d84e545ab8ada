"""How token losses are weighted against each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentenv.trajectory.rows import Row


class Aggregation(StrEnum):
    """How token losses become one number: Σ weight · loss / Σ units, both summed over a minibatch.

    A row is a sequence. The sums are over the whole minibatch, so no choice of micro-batches changes the result.

    `EPISODE_MEAN`: every episode counts 1, shared equally by all its sampled tokens in whatever rows they lie.
    `TOKEN_MEAN`: every sampled token counts 1 (DAPO, https://arxiv.org/abs/2503.14476, equation 8).
    `SEQUENCE_MEAN`: every row counts 1, shared equally by its tokens (GRPO, https://arxiv.org/abs/2402.03300, eq. 3).
    `SEQUENCE_SUM`: every token counts 1, divided by the number of rows.
    `SEQUENCE_SUM_CONSTANT`: the same, divided by a constant length too (Dr. GRPO, https://arxiv.org/abs/2503.20783).
    """

    EPISODE_MEAN = "episode_mean"
    TOKEN_MEAN = "token_mean"
    SEQUENCE_MEAN = "sequence_mean"
    SEQUENCE_SUM = "sequence_sum"
    SEQUENCE_SUM_CONSTANT = "sequence_sum_constant"


@dataclass(frozen=True, slots=True)
class Share:
    """What a row contributes: `weight` of each of its sampled tokens, and `units` to the denominator."""

    weight: float
    units: float


def share_of(row: Row, aggregation: Aggregation, constant_length: int | None = None) -> Share:
    """The row's share; a row without sampled tokens has none.

    >>> import numpy; nothing = numpy.zeros(3); mask = numpy.array([False, True, True])
    >>> row = Row("e", "g", nothing, mask, nothing, nothing, nothing, weight=0.5)
    >>> share_of(row, Aggregation.EPISODE_MEAN), share_of(row, Aggregation.TOKEN_MEAN)
    (Share(weight=0.25, units=0.5), Share(weight=1.0, units=2.0))
    """
    sampled = row.sampled
    if sampled == 0:
        return Share(0.0, 0.0)
    match aggregation:
        case Aggregation.EPISODE_MEAN:
            return Share(row.weight / sampled, row.weight)
        case Aggregation.TOKEN_MEAN:
            return Share(1.0, float(sampled))
        case Aggregation.SEQUENCE_MEAN:
            return Share(1.0 / sampled, 1.0)
        case Aggregation.SEQUENCE_SUM:
            return Share(1.0, 1.0)
        case Aggregation.SEQUENCE_SUM_CONSTANT:
            if constant_length is None:
                raise ValueError("sequence_sum_constant divides by a length: give constant_length")
            return Share(1.0, float(constant_length))
