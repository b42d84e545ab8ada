"""Rows to padded micro-batches: sorted by length, bounded by tokens, logits wanted only where something was sampled."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy
import torch

from agentenv.learn.streams import Stream, TokenRow

RowT = TypeVar("RowT", bound=TokenRow)


@dataclass(frozen=True, slots=True)
class MicroBatch(Generic[RowT]):
    """What one forward pass takes.

    Attributes:
        ids: right-padded token ids, shape [B, T]. Causal attention never looks right, so padding needs no mask.
        predictors: positions in `ids.flatten()` whose logits predict a sampled token (one before it), shape [N].
        targets: the sampled ids, shape [N].
        sequences: which of `rows` each sampled token belongs to, shape [N].
    """

    rows: tuple[RowT, ...]
    ids: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    sequences: torch.Tensor

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


def collate(rows: Sequence[RowT]) -> MicroBatch[RowT]:
    """Pads rows to the longest. Positions after a row's last sampled token predict nothing and are cut off."""
    lengths = [int(row.mask.nonzero()[0][-1]) + 1 for row in rows]
    width = max(lengths)
    ids = numpy.zeros((len(rows), width), dtype=numpy.int64)
    positions = []
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        ids[index, :length] = row.ids[:length]
        positions.append(row.mask.nonzero()[0] + index * width)
    sampled = numpy.concatenate(positions)
    return MicroBatch(
        rows=tuple(rows),
        ids=torch.from_numpy(ids),
        predictors=torch.from_numpy(sampled - 1),
        targets=torch.from_numpy(ids.reshape(-1)[sampled]),
        sequences=torch.from_numpy(numpy.repeat(numpy.arange(len(rows)), [len(each) for each in positions])),
    )


def micro_batches(rows: Sequence[RowT], max_tokens: int) -> list[MicroBatch[RowT]]:
    """Cuts rows, sorted by length, into batches of at most `max_tokens` padded positions (at least one row each)."""
    made: list[MicroBatch[RowT]] = []
    chosen: list[RowT] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if chosen and (len(chosen) + 1) * len(row.ids) > max_tokens:
            made.append(collate(chosen))
            chosen = []
        chosen.append(row)
    if chosen:
        made.append(collate(chosen))
    return made


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
