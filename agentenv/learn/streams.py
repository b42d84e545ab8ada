"""What the learner consumes: rows with one number per position and per quantity, whatever algorithm filled them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from agentenv.errors import UnscoredRewardError
from agentenv.learn.aggregation import Aggregation
from agentenv.learn.errors import InvalidRowError
from agentenv.trajectory.rows import Row

Ids = NDArray[numpy.int64]
Mask = NDArray[numpy.bool_]
Stream = NDArray[numpy.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WeightedRow:
    """Token ids and how much each sampled one counts; enough for supervised learning.

    Attributes:
        name: of the episode or demonstration, for messages and for keeping an episode's rows together.
        ids: prompt, observation and sampled tokens in their order, shape [T].
        mask: true on the tokens to learn, shape [T].
        weights: loss weight of each token, in any unit (losses are divided by their sum), 0 off the mask, shape [T].
    """

    name: str
    ids: Ids
    mask: Mask
    weights: Stream


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow(WeightedRow):
    """A weighted row with the streams of a policy-gradient loss, shape [T] each, 0 off the mask.

    Attributes:
        advantages: of each sampled token.
        behaviour_logprobs: log-probability (nats) under the policy that sampled, as the sampler reported it.
    """

    advantages: Stream
    behaviour_logprobs: Stream


def demonstration(name: str, ids: Iterable[int], mask: Iterable[bool], weight: float = 1.0) -> WeightedRow:
    """A row for supervised learning whose masked tokens each weigh `weight`.

    >>> demonstration("d", [5, 6, 7], [False, True, True]).weights.tolist()
    [0.0, 1.0, 1.0]
    """
    mask_array = numpy.fromiter(mask, dtype=numpy.bool_)
    weights = mask_array.astype(numpy.float32) * numpy.float32(weight)
    return WeightedRow(name, numpy.fromiter(ids, dtype=numpy.int64), mask_array, weights)


def training_rows(
    rows: Iterable[Row], advantages: Mapping[str, float | None], aggregation: Aggregation
) -> list[TrainingRow]:
    """Gives every sampled token of a row the advantage of its episode.

    Args:
        advantages: by episode id.

    Raises:
        UnscoredRewardError: an episode has no advantage because its reward is `None`; leave its rows out.
        InvalidRowError: a logprob is not finite, or a row has nothing to learn or nothing to predict it from.
    """
    return [_training_row(row, advantages.get(row.episode_id), aggregation) for row in rows]


def _training_row(row: Row, advantage: float | None, aggregation: Aggregation) -> TrainingRow:
    if advantage is None:
        raise UnscoredRewardError(f"episode {row.episode_id} is not scored: leave its rows out before training")
    sampled = int(row.mask.sum())
    share = row.weight / sampled if aggregation is Aggregation.EPISODE_MEAN and sampled else 1.0
    made = TrainingRow(
        name=row.episode_id,
        ids=row.ids,
        mask=row.mask,
        weights=row.mask * numpy.float32(share),
        advantages=row.mask * numpy.float32(advantage),
        behaviour_logprobs=row.logprobs,
    )
    check_row(made)
    return made


def check_row(row: WeightedRow, context: int | None = None) -> None:
    """Refuses a row that would poison an update, naming it and the position at fault.

    Raises:
        InvalidRowError: nothing to learn, a first token to learn (nothing precedes it), a stream that is not finite
            on the mask, or more tokens than the model's `context`.
    """
    if not row.mask.any():
        raise InvalidRowError(f"row of {row.name} holds no sampled token")
    if row.mask[0]:
        raise InvalidRowError(f"row of {row.name} starts with a sampled token: the model needs one to predict it from")
    if context is not None and len(row.ids) > context:
        raise InvalidRowError(f"row of {row.name} has {len(row.ids)} tokens but the model's context holds {context}")
    streams: dict[str, NDArray[Any]] = {"weight": row.weights}
    if isinstance(row, TrainingRow):
        streams |= {"advantage": row.advantages, "logprob": row.behaviour_logprobs}
    for label, values in streams.items():
        bad = row.mask & ~numpy.isfinite(values)
        if bad.any():
            at = int(bad.argmax())
            raise InvalidRowError(
                f"row of {row.name}: the {label} at position {at} is {values[at]}, which is not finite"
            )
