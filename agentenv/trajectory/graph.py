"""The token graph: the model calls of one episode, linked where one's prompt is exactly another's tokens so far.

An agent that only appends to its conversation makes a single chain. One that rewrites its context (memory, compaction,
sub-agents) or whose server tokenises differently makes branches and further roots; nothing is ever re-tokenised to
hide that. How a call departs from the others is named and counted.

The graph depends on what was sampled after what, never on the order in which it was written down: sub-agents run side
by side and finish in any order. Only the turns' own numbers, which say who asked first, break ties.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy
from numpy.typing import NDArray

from agentenv.episode import Episode, Turn
from agentenv.tokens import TokenRecord


class Drift(StrEnum):
    """Where a prompt departs from the tokens of a call that it shares its beginning with.

    `PROMPT_CHANGED`: it continues nothing, and begins otherwise than the episode's first prompt: the context was
        rewritten or belongs to another agent.
    `ANSWER_CHANGED`: it goes on from a call's prompt, but departs within what was sampled there: the answer was edited
        or tokenised again.
    `SHORTENED`: it goes on from a call's prompt and ends within what was sampled there.
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
        drift: how it departs from a call it shares its beginning with; `None` where it continues all there is.
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
class Links:
    """How model calls follow from one another; those of several episodes can be added.

    Attributes:
        later: calls that are not the first of their episode. continued: calls that continue another token for token.
        departures: how the prompts that departed did so.
    """

    later: int = 0
    continued: int = 0
    departures: Mapping[Drift, int] = field(default_factory=dict)

    def __add__(self, other: Links) -> Links:
        departures = Counter(self.departures) + Counter(other.departures)
        return Links(self.later + other.later, self.continued + other.continued, departures)


@dataclass(frozen=True, slots=True)
class TokenGraph:
    """A forest of model calls in the order of their turns.

    A call's parent is the one with the longest `prompt_ids + sampled_ids` that its prompt starts with; among equals the
    one with the longest prompt, then the latest. A call that sampled nothing is nobody's parent.

    `used` are the positions of calls that something goes on from: a call's prompt by its tokens, or a turn that says so
    (`info["call"]["parent"]`, as the gateway writes it of conversations whose tokens departed).
    """

    calls: tuple[ModelCall, ...]
    used: frozenset[int] = field(default=frozenset())

    @classmethod
    def of(cls, episode: Episode) -> Self:
        """The graph of an episode's turns that have a token record.

        Costs one pass over the tokens: prefixes are found by a rolling hash of every prompt (all lengths at once) and
        confirmed by comparison. A parent has a shorter prompt than its children, so they are taken in that order.
        """
        turns = sorted(episode.turns, key=lambda turn: turn.index)
        recorded = [(turn.index, turn.action.tokens) for turn in turns if turn.action.tokens is not None]
        by_length = sorted(range(len(recorded)), key=lambda position: len(recorded[position][1].prompt_ids))
        index = _PrefixIndex(len(recorded))
        parents: list[int | None] = [None] * len(recorded)
        drifts: list[Drift | None] = [None] * len(recorded)
        for order, position in enumerate(by_length):
            tokens = recorded[position][1]
            found = index.find(tokens)
            parents[position] = None if found.parent is None else by_length[found.parent]
            drifts[position] = found.drift
            index.add(order, tokens)
        for position in _rewritten(recorded, parents, drifts):
            drifts[position] = Drift.PROMPT_CHANGED
        calls = tuple(
            ModelCall(turn, tokens, parent, drift)
            for (turn, tokens), parent, drift in zip(recorded, parents, drifts, strict=True)
        )
        said = _said_to_be_used(turns)
        named = {position for position, call in enumerate(calls) if call.turn in said}
        return cls(calls, frozenset(named.union(parent for parent in parents if parent is not None)))

    def chains(self) -> list[tuple[int, ...]]:
        """The calls, cut into chains in which each call continues the one before it, by the turns they begin with.

        Every call is in exactly one chain. Where several calls continue the same one, the one whose tokens come first
        in order stays in its chain and each of the others starts a new one; those that sampled nothing come last.
        """
        heir: dict[int, int] = {}
        for position, call in enumerate(self.calls):
            if call.parent is None:
                continue
            rival = heir.get(call.parent)
            if rival is None or _precedes(call, self.calls[rival]):
                heir[call.parent] = position
        begins = [
            position for position, call in enumerate(self.calls) if call.parent is None or heir[call.parent] != position
        ]
        return [tuple(self._line(start, heir)) for start in begins]

    def _line(self, start: int, heir: Mapping[int, int]) -> Iterator[int]:
        position: int | None = start
        while position is not None:
            yield position
            position = heir.get(position)

    def path(self, position: int) -> tuple[int, ...]:
        """The calls from the root to `position`, both included."""
        path = []
        current: int | None = position
        while current is not None:
            path.append(current)
            current = self.calls[current].parent
        return tuple(reversed(path))

    def retried(self) -> frozenset[int]:
        """The calls whose answer nobody used, and whose very prompt was asked again later.

        A client that retries (it did not like the answer, or never got it) asks with the same prompt and goes on from
        the new answer. Samples that a client asked for on purpose share a prompt as well: those it goes on from are
        used, whichever came first, and the last one asked is always kept: it may be what the episode ended with.
        """
        asked: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for position, call in enumerate(self.calls):
            if call.tokens.sampled_ids:
                asked[call.tokens.prompt_ids].append(position)
        again = (position for positions in asked.values() for position in positions[:-1])
        return frozenset(position for position in again if position not in self.used)

    @property
    def roots(self) -> int:
        """How many calls continue nothing."""
        return sum(call.parent is None for call in self.calls)

    def drifts(self) -> Mapping[Drift, int]:
        """How often each kind of departure occurred."""
        return Counter(call.drift for call in self.calls if call.drift is not None)

    def links(self) -> Links:
        """How the calls follow from one another, in numbers."""
        return Links(max(0, len(self.calls) - 1), len(self.calls) - self.roots, self.drifts())


def _rewritten(
    recorded: Sequence[tuple[int, TokenRecord]], parents: Sequence[int | None], drifts: Sequence[Drift | None]
) -> list[int]:
    """The roots that begin otherwise than the first one, and depart from nothing in particular."""
    roots = [position for position, parent in enumerate(parents) if parent is None]
    opening = recorded[roots[0]][1].prompt_ids if roots else ()
    return [at for at in roots if drifts[at] is None and recorded[at][1].prompt_ids != opening]


def _said_to_be_used(turns: Sequence[Turn]) -> set[int]:
    """The turns that other turns name as the one they go on from."""
    said = set()
    for turn in turns:
        call = turn.info.get("call")
        parent = call.get("parent") if isinstance(call, Mapping) else None
        if type(parent) is int:
            said.add(parent)
    return said


def _precedes(one: ModelCall, other: ModelCall) -> bool:
    """Whether `one` rather than `other` stays in the chain of the call both continue; by what they are, not when."""
    ours, theirs = one.tokens, other.tokens
    if bool(ours.sampled_ids) != bool(theirs.sampled_ids):
        return bool(ours.sampled_ids)
    mine, its = (ours.prompt_ids, ours.sampled_ids), (theirs.prompt_ids, theirs.sampled_ids)
    return mine < its if mine != its else one.turn < other.turn


@dataclass(frozen=True, slots=True)
class _Found:
    """What a prompt continues (by the number it was added under), and how it departs from what it does not."""

    parent: int | None
    drift: Drift | None


class _PrefixIndex:
    """Finds which of the calls added so far a prompt starts with.

    The hash of the first n ids is the sum of (id + 1) · B^i over i < n, modulo 2^64 (Karp and Rabin 1987): one
    cumulative sum gives it for every n, and a candidate needs one look-up at its own length.
    """

    def __init__(self, capacity: int) -> None:
        self._records: list[TokenRecord] = []
        self._numbers: list[int] = []
        self._hashes: NDArray[numpy.uint64] = numpy.zeros(0, dtype=numpy.uint64)
        self._wholes = _Ends(capacity)
        self._prompts = _Ends(capacity)
        self._powers = _powers(1)

    def find(self, tokens: TokenRecord) -> _Found:
        """What `tokens.prompt_ids` continue among the calls with shorter prompts, all of which have been added."""
        prompt = tokens.prompt_ids
        self._hashes = self._prefix_hashes(tokens)
        wholes = self._wholes.matching(self._hashes, len(prompt))
        parent = next((at for at in wholes if _starts_with(prompt, self._records[at])), None)
        continued = 0 if parent is None else self._wholes.length(parent)
        departed: list[int] = []
        for at in self._prompts.matching(self._hashes, len(prompt) - 1):
            length = self._prompts.length(at)
            if length < continued or (departed and length < self._prompts.length(departed[0])):
                break
            if prompt[:length] == self._records[at].prompt_ids:
                departed.append(at)
        number = None if parent is None else self._numbers[parent]
        return _Found(number, _drift(prompt, [self._records[at] for at in departed]))

    def add(self, number: int, tokens: TokenRecord) -> None:
        """Remembers the call that was just looked for."""
        if tokens.sampled_ids:
            self._records.append(tokens)
            self._numbers.append(number)
            self._wholes.append(len(self._hashes) - 1, self._hashes[-1])
            self._prompts.append(len(tokens.prompt_ids), self._hashes[len(tokens.prompt_ids)])

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


class _Ends:
    """Lengths and hashes of beginnings, to be looked up in the prefix hashes of a prompt."""

    def __init__(self, capacity: int) -> None:
        self._lengths = numpy.zeros(capacity, dtype=numpy.int64)
        self._hashes = numpy.zeros(capacity, dtype=numpy.uint64)
        self._count = 0

    def append(self, length: int, hash: numpy.uint64) -> None:
        self._lengths[self._count], self._hashes[self._count] = length, hash
        self._count += 1

    def length(self, at: int) -> int:
        return int(self._lengths[at])

    def matching(self, hashes: NDArray[numpy.uint64], longest: int) -> Iterator[int]:
        """Those of at most `longest` ids with the hash of that length; the longest first, then the latest."""
        lengths = self._lengths[: self._count]
        fits = lengths <= longest
        fits[fits] = self._hashes[: self._count][fits] == hashes[lengths[fits]]
        candidates = numpy.nonzero(fits)[0]
        best_first = candidates[numpy.lexsort((candidates, lengths[candidates]))[::-1]]
        return (int(at) for at in best_first)


def _drift(prompt: tuple[int, ...], departed: Sequence[TokenRecord]) -> Drift | None:
    """How a prompt departs within the answers to the longest prompt it starts with, none of which it continues."""
    if not departed:
        return None
    for record in departed:
        start = len(record.prompt_ids)
        rest = prompt[start : start + len(record.sampled_ids)]
        if rest == record.sampled_ids[: len(rest)]:
            return Drift.SHORTENED
    return Drift.ANSWER_CHANGED


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
