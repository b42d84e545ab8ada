"""What the trainer consumes: rows with one number per position and per quantity, whatever algorithm filled them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from agentenv.learn.errors import InvalidRowError

Ids = NDArray[numpy.int64]
Mask = NDArray[numpy.bool_]
Stream = NDArray[numpy.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenRow:
    """Token ids and which of them were sampled; enough for a forward pass.

    Attributes:
        name: of the episode or demonstration, for messages and for keeping an episode's rows together.
        ids: prompt, observation and sampled tokens in their order, shape [T].
        mask: true on the tokens to learn, shape [T].
    """

    name: str
    ids: Ids
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class WeightedRow(TokenRow):
    """How much each sampled token counts; enough for supervised learning.

    Attributes:
        weights: loss weight of each token, 0 off the mask, shape [T].
        units: what the row adds to the denominator: a loss is Σ weight · loss / Σ units.
    """

    weights: Stream
    units: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingRow(WeightedRow):
    """A weighted row with the streams of a policy-gradient loss, shape [T] each, 0 off the mask.

    Attributes:
        advantages: of each sampled token.
        behaviour_logprobs: log π_b (nats), as the sampler reported it.
        old_logprobs: log π_p that the ratio is measured against; `None` takes the behaviour's.
        proximal_mix: α of log π_p = log π_b + α (log π_θ − log π_b), in place of `old_logprobs`.
        reference_logprobs: log π_ref, where the loss holds a divergence.
        returns: the critic's targets. old_values: what it said before the update. Both or neither.
    """

    advantages: Stream
    behaviour_logprobs: Stream
    old_logprobs: Stream | None = None
    proximal_mix: Stream | None = None
    reference_logprobs: Stream | None = None
    returns: Stream | None = None
    old_values: Stream | None = None

    @property
    def idle(self) -> bool:
        """Whether no token has an advantage."""
        return not self.advantages[self.mask].any()


_CHECKED = (
    "weights",
    "advantages",
    "behaviour_logprobs",
    "old_logprobs",
    "proximal_mix",
    "reference_logprobs",
    "returns",
    "old_values",
)


def demonstration(name: str, ids: Iterable[int], mask: Iterable[bool], weight: float = 1.0) -> WeightedRow:
    """A row for supervised learning whose masked tokens each weigh `weight`.

    >>> demonstration("d", [5, 6, 7], [False, True, True]).weights.tolist()
    [0.0, 1.0, 1.0]
    """
    mask_array = numpy.fromiter(mask, dtype=numpy.bool_)
    weights = mask_array.astype(numpy.float32) * numpy.float32(weight)
    units = float(weights.sum(dtype=numpy.float64))
    return WeightedRow(name, numpy.fromiter(ids, dtype=numpy.int64), mask_array, weights, units)


def check_row(row: TokenRow, context: int | None = None) -> None:
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
    for name in _CHECKED:
        values: NDArray[Any] | None = getattr(row, name, None)
        if values is None:
            continue
        bad = row.mask & ~numpy.isfinite(values)
        if bad.any():
            at, label = int(bad.argmax()), name.replace("_", " ").removesuffix("s")
            raise InvalidRowError(
                f"row of {row.name}: the {label} at position {at} is {values[at]}, which is not finite"
            )
