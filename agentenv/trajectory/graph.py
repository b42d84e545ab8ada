"""The token graph: the model calls of one episode, linked where one's prompt is exactly another's tokens so far.

An agent that only appends to its conversation makes a single chain. One that rewrites its context (memory, compaction,
sub-agents) or whose server tokenises differently makes branches and further roots; nothing is ever re-tokenised to
hide that. How a call departs from the one before it is named and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy
from numpy.typing import NDArray

from agentenv.episode import Episode
from agentenv.tokens import TokenRecord


class Drift(StrEnum):
    """Where a prompt departs from the tokens of the call before it.

    `PROMPT_CHANGED`: within what that call was prompted with: the context was rewritten or belongs to another agent.
    `ANSWER_CHANGED`: after that prompt, within what was sampled: the answer was edited or tokenised again.
    `SHORTENED`: it departs nowhere but ends before those tokens do.
    """

    PROMPT_CHANGED = "prompt_changed"
    ANSWER_CHANGED = "answer_changed"
    SHORTENED = "shortened"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One model call whose tokens are known.

    Attributes:
        turn: index of the turn that made it.
        parent: position in `TokenGraph.calls` of the call it continues, or `None` for a root.
        drift: how it departs from the call before it; `None` for the first call and when it continues that one.
    """

    turn: int
    tokens: TokenRecord
    parent: int | None
    drift: Drift | None

    @property
    def length(self) -> int:
        """Prompt and sampled tokens together."""
        return len(self.tokens.prompt_ids) + len(self.tokens.sampled_ids)


@dataclass(frozen=True, slots=True)
class TokenGraph:
    """A forest of model calls in the order in which they were made; every parent comes before its children.

    A call's parent is the earlier call with the longest `prompt_ids + sampled_ids` that its prompt starts with; among
    equals, the latest.
    """

    calls: tuple[ModelCall, ...]

    @classmethod
    def of(cls, episode: Episode) -> Self:
        """The graph of an episode's turns that have a token record.

        Costs one pass over the tokens: prefixes are found by a rolling hash of every prompt (all lengths at once) and
        confirmed by comparison.
        """
        recorded = [(turn.index, turn.action.tokens) for turn in episode.turns if turn.action.tokens is not None]
        index = _PrefixIndex(len(recorded))
        calls: list[ModelCall] = []
        for turn, tokens in recorded:
            parent = index.longest_prefix(tokens)
            follows = not calls or parent == len(calls) - 1
            calls.append(ModelCall(turn, tokens, parent, None if follows else _drift(calls[-1].tokens, tokens)))
        return cls(tuple(calls))

    def chains(self) -> list[tuple[int, ...]]:
        """The calls, cut into chains in which each call continues the one before it.

        Every call is in exactly one chain. Where several calls continue the same one, the first stays in its chain and
        each of the others starts a new one.
        """
        chains: list[list[int]] = []
        chain_ending_at: dict[int, list[int]] = {}
        for position, call in enumerate(self.calls):
            chain = chain_ending_at.pop(call.parent, None) if call.parent is not None else None
            if chain is None:
                chain = []
                chains.append(chain)
            chain.append(position)
            chain_ending_at[position] = chain
        return [tuple(chain) for chain in chains]

    def path(self, position: int) -> tuple[int, ...]:
        """The calls from the root to `position`, both included."""
        path = []
        current: int | None = position
        while current is not None:
            path.append(current)
            current = self.calls[current].parent
        return tuple(reversed(path))

    @property
    def roots(self) -> int:
        """How many calls continue nothing."""
        return sum(call.parent is None for call in self.calls)

    def drifts(self) -> Mapping[Drift, int]:
        """How often each kind of departure occurred."""
        return Counter(call.drift for call in self.calls if call.drift is not None)


def _drift(before: TokenRecord, now: TokenRecord) -> Drift:
    prompt, earlier = now.prompt_ids, before.prompt_ids
    shared = min(len(prompt), len(earlier))
    if prompt[:shared] != earlier[:shared]:
        return Drift.PROMPT_CHANGED
    continued = prompt[len(earlier) : len(earlier) + len(before.sampled_ids)]
    if continued != before.sampled_ids[: len(continued)]:
        return Drift.ANSWER_CHANGED
    return Drift.SHORTENED


class _PrefixIndex:
    """Finds which of the calls seen so far a prompt starts with.

    The hash of the first n ids is the sum of (id + 1) · B^i over i < n, modulo 2^64 (Karp and Rabin 1987): one
    cumulative sum gives it for every n, and a candidate needs one look-up at its own length.
    """

    def __init__(self, capacity: int) -> None:
        self._records: list[TokenRecord] = []
        self._lengths = numpy.zeros(capacity, dtype=numpy.int64)
        self._hashes = numpy.zeros(capacity, dtype=numpy.uint64)
        self._powers = _powers(1)

    def longest_prefix(self, tokens: TokenRecord) -> int | None:
        """The position of the call that `tokens.prompt_ids` continues; `tokens` is remembered as the next call."""
        hashes = self._prefix_hashes(tokens)
        count = len(self._records)
        lengths = self._lengths[:count]
        fits = (lengths > 0) & (lengths <= len(tokens.prompt_ids))
        fits[fits] = self._hashes[:count][fits] == hashes[lengths[fits]]
        candidates = numpy.nonzero(fits)[0]
        best_first = candidates[numpy.lexsort((candidates, lengths[candidates]))[::-1]]
        self._records.append(tokens)
        self._lengths[count] = len(hashes) - 1
        self._hashes[count] = hashes[-1]
        return next((int(at) for at in best_first if _starts_with(tokens.prompt_ids, self._records[at])), None)

    def _prefix_hashes(self, tokens: TokenRecord) -> NDArray[numpy.uint64]:
        """Entry n is the hash of the first n of prompt and sampled ids together."""
        length = len(tokens.prompt_ids) + len(tokens.sampled_ids)
        if len(self._powers) < length:
            self._powers = _powers(2 * length)
        terms = numpy.zeros(length + 1, dtype=numpy.uint64)
        terms[1:] = _array(tokens.prompt_ids, tokens.sampled_ids)
        terms[1:] += numpy.uint64(1)
        terms[1:] *= self._powers[:length]
        return numpy.cumsum(terms, dtype=numpy.uint64)


_BASE = numpy.uint64(0x9E3779B97F4A7C15)


def _powers(count: int) -> NDArray[numpy.uint64]:
    factors = numpy.full(count, _BASE, dtype=numpy.uint64)
    factors[0] = 1
    return numpy.cumprod(factors, dtype=numpy.uint64)


def _array(*parts: Sequence[int]) -> NDArray[numpy.uint64]:
    arrays = [numpy.fromiter(part, dtype=numpy.int64, count=len(part)) for part in parts]
    return numpy.concatenate(arrays).astype(numpy.uint64)


def _starts_with(prompt: tuple[int, ...], earlier: TokenRecord) -> bool:
    middle = len(earlier.prompt_ids)
    end = middle + len(earlier.sampled_ids)
    return prompt[:middle] == earlier.prompt_ids and prompt[middle:end] == earlier.sampled_ids
