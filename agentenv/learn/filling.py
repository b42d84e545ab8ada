"""From credit to streams: the rows that the trainer takes, each number in its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from agentenv.learn.aggregation import share_of
from agentenv.learn.config import LossConfig, Proximal
from agentenv.learn.credit import Credit
from agentenv.learn.experience import Experience
from agentenv.learn.losses import proximal_mix
from agentenv.learn.streams import Stream, TrainingRow


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What models say of the rows beyond what the sampler said: one stream [T] a row each, where it is wanted.

    Attributes:
        old: log π_p. reference: log π_ref. penalties: β (log π_p − log π_ref). values: V before each token.
    """

    old: tuple[Stream, ...] | None = None
    reference: tuple[Stream, ...] | None = None
    penalties: tuple[Stream, ...] | None = None
    values: tuple[Stream, ...] | None = None


def training_rows(
    experience: Experience, credit: Credit, scores: Scores, loss: LossConfig, iteration: int
) -> list[TrainingRow]:
    """The experience's rows with every stream that the loss reads, in their order.

    Args:
        iteration: of the update, and the version of the weights it makes; it starts from those of `iteration − 1`.
    """
    rows = []
    for index, row in enumerate(experience.rows):
        share = share_of(row, loss.aggregation, loss.constant_length)
        mix = None
        if loss.proximal is Proximal.LOG_LINEAR:
            mix = row.mask * proximal_mix(row.versions, proximal_version=iteration - 1, version=iteration)
        rows.append(
            TrainingRow(
                name=row.episode_id,
                ids=row.ids,
                mask=row.mask,
                weights=row.mask * numpy.float32(share.weight),
                units=share.units,
                advantages=credit.advantages[index],
                behaviour_logprobs=row.logprobs,
                old_logprobs=_at(scores.old, index),
                proximal_mix=mix,
                reference_logprobs=_at(scores.reference, index),
                returns=_at(credit.returns, index),
                old_values=_at(scores.values, index),
            )
        )
    return rows


def _at(streams: tuple[Stream, ...] | None, index: int) -> Stream | None:
    return None if streams is None else streams[index]
