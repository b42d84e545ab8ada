"""Rows to micro-batches, padded or packed: bounded by tokens, logits wanted only where something was sampled."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy
import torch

from agentenv.learn.config import Batching
from agentenv.learn.streams import Ids, Stream, TokenRow

RowT = TypeVar("RowT", bound=TokenRow)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model reads, and where its answer is wanted.

    Attributes:
        ids: token ids, shape [B, T]. Padding is on the right, where causal attention never looks: it needs no mask.
        predictors: positions in `ids.flatten()` that predict a sampled token (the one before it), shape [N].
        position_ids: of packed rows, counted from 0 in each, shape [1, T]; `None` where a row has a line to itself.
    """

    ids: torch.Tensor
    predictors: torch.Tensor
    position_ids: torch.Tensor | None = None

    def to(self, device: torch.device) -> Inputs:
        """The same on another device."""
        positions = None if self.position_ids is None else self.position_ids.to(device)
        return Inputs(self.ids.to(device), self.predictors.to(device), positions)


@dataclass(frozen=True, slots=True)
class MicroBatch(Generic[RowT]):
    """What one forward pass takes.

    Attributes:
        targets: the sampled ids, shape [N].
        sequences: which of `rows` each sampled token belongs to, shape [N].
        padding: how many of the positions of `inputs.ids` hold no token.
    """

    rows: tuple[RowT, ...]
    inputs: Inputs
    targets: torch.Tensor
    sequences: torch.Tensor
    padding: int

    def stream(self, of: Callable[[RowT], Stream]) -> torch.Tensor:
        """One stream at the sampled tokens, shape [N], in the order of `targets`.

        >>> batch.stream(lambda row: row.advantages)  # doctest: +SKIP
        """
        values = numpy.concatenate([of(row)[row.mask] for row in self.rows])
        return torch.from_numpy(values.astype(numpy.float32, copy=False))

    def scatter(self, values: torch.Tensor) -> list[Stream]:
        """The inverse of `stream`: a row's own numbers at its sampled positions, 0 elsewhere, shape [T] a row."""
        array, streams, start = values.detach().float().cpu().numpy(), [], 0
        for row in self.rows:
            stream = numpy.zeros(len(row.ids), dtype=numpy.float32)
            end = start + int(row.mask.sum())
            stream[row.mask] = array[start:end]
            streams.append(stream)
            start = end
        return streams


def pad(rows: Sequence[RowT]) -> MicroBatch[RowT]:
    """Rows one below the other, filled up to the longest."""
    lengths = [_needed(row) for row in rows]
    ids = numpy.zeros((len(rows), max(lengths)), dtype=numpy.int64)
    for line, row, length in zip(ids, rows, lengths, strict=True):
        line[:length] = row.ids[:length]
    return _batch(rows, ids, [index * ids.shape[1] for index in range(len(rows))], None)


def pack(rows: Sequence[RowT]) -> MicroBatch[RowT]:
    """Rows end to end in one line."""
    lengths = [_needed(row) for row in rows]
    ids = numpy.concatenate([row.ids[:length] for row, length in zip(rows, lengths, strict=True)])
    positions = numpy.concatenate([numpy.arange(length) for length in lengths])
    starts = numpy.cumsum([0, *lengths[:-1]]).tolist()
    return _batch(rows, ids[None], starts, torch.from_numpy(positions[None]))


def micro_batches(
    rows: Sequence[RowT], max_tokens: int, batching: Batching = Batching.PADDED
) -> list[MicroBatch[RowT]]:
    """Cuts rows into batches of at most `max_tokens` positions (at least one row each); padded ones sorted by length.

    Positions after a row's last sampled token predict nothing and are cut off.
    """
    if batching is Batching.PADDED:
        ordered = sorted(rows, key=_needed)
        return [pad(part) for part in _cut(ordered, lambda count, total, longest: count * longest <= max_tokens)]
    return [pack(part) for part in _cut(rows, lambda count, total, longest: total <= max_tokens)]


def _needed(row: TokenRow) -> int:
    """Up to and with the last sampled token."""
    return int(row.mask.nonzero()[0][-1]) + 1


def _cut(rows: Sequence[RowT], fits: Callable[[int, int, int], bool]) -> list[list[RowT]]:
    """Consecutive parts, each as long as their number, total length and greatest length fit."""
    parts: list[list[RowT]] = []
    count = total = longest = 0
    for row in rows:
        length = _needed(row)
        count, total, longest = count + 1, total + length, max(longest, length)
        if count == 1 or not fits(count, total, longest):
            parts.append([])
            count, total, longest = 1, length, length
        parts[-1].append(row)
    return parts


def _batch(
    rows: Sequence[RowT], ids: Ids, starts: Sequence[int], position_ids: torch.Tensor | None
) -> MicroBatch[RowT]:
    """The batch of `ids` [B, T] in whose flattened form the rows begin at `starts`."""
    places = [row.mask.nonzero()[0] + start for row, start in zip(rows, starts, strict=True)]
    sampled = numpy.concatenate(places)
    owners = numpy.repeat(numpy.arange(len(rows)), [len(each) for each in places])
    return MicroBatch(
        rows=tuple(rows),
        inputs=Inputs(torch.from_numpy(ids), torch.from_numpy(sampled - 1), position_ids),
        targets=torch.from_numpy(ids.reshape(-1)[sampled]),
        sequences=torch.from_numpy(owners),
        padding=ids.size - sum(_needed(row) for row in rows),
    )


def minibatches(rows: Sequence[RowT], count: int, rng: random.Random) -> list[list[RowT]]:
    """Deals rows into `count` parts of nearly equal numbers of episodes, in random order; fewer when there are fewer.

    All rows of an episode go to the same part, so that its weight is not split between two optimizer steps.
    """
    episodes: dict[str, list[RowT]] = {}
    for row in rows:
        episodes.setdefault(row.name, []).append(row)
    order = list(episodes)
    rng.shuffle(order)
    parts = [order[start::count] for start in range(min(count, len(order)))]
    return [[row for name in part for row in episodes[name]] for part in parts]
