"""Rows: the token sequences a learner trains on, built from episodes by a pure function.

The invariant: *every sampled token lands in exactly one row, with its logprob, or is listed as excluded with a
reason*. The three views put the same tokens into different rows, so that comparing them compares nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy
from numpy.typing import NDArray

from agentenv.episode import Episode
from agentenv.tokens import TokenRecord
from agentenv.trajectory.graph import Links, TokenGraph
from agentenv.trajectory.transitions import group_id


class RowView(StrEnum):
    """How an episode's model calls become rows.

    `MERGED`: one row per chain of calls that continue each other exactly. On a branch, tokens of calls that belong to
        another row are context.
    `TRANSITION`: one row per call; everything before its answer is context.
    `MASKED`: one row per episode, the conversation its last call saw and its answer. Calls that are not part of it are
        excluded.
    """

    MERGED = "merged"
    TRANSITION = "transition"
    MASKED = "masked"


class Excluded(StrEnum):
    """Why sampled tokens are in no row.

    `EPISODE_FAILED`: its status is neither `ok` nor `truncated`. `NO_TOKEN_RECORD`: nobody recorded them.
    `NOTHING_SAMPLED`: there are none. `RETRIED`: nobody used the answer, and its prompt was asked again later (see
    `TokenGraph.retried`). `NOT_IN_LAST_CHAIN`: the masked view trains one conversation, and this is another.
    """

    EPISODE_FAILED = "episode_failed"
    NO_TOKEN_RECORD = "no_token_record"
    NOTHING_SAMPLED = "nothing_sampled"
    RETRIED = "retried"
    NOT_IN_LAST_CHAIN = "not_in_last_chain"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model call that is in no row. `tokens` is how many it sampled, or `None` where nobody recorded it.

    A failed episode without any turn is listed once, with `turn=None`.
    """

    episode_id: str
    turn: int | None
    reason: Excluded
    tokens: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One token sequence. All arrays have shape [T] and are read-only.

    Attributes:
        ids: int64, prompt, sampled and observation tokens as the model saw them.
        mask: bool, true on the tokens that were sampled and are to be trained here.
        logprobs: float32, behaviour log-probability in nats; 0 where `mask` is false.
        versions: int64, weights that sampled the token; −1 where `mask` is false.
        turns: int64, turn that sampled the token; −1 where `mask` is false.
        weight: this row's share of its episode's trained tokens. An episode's rows sum to 1, however many they are.
    """

    episode_id: str
    group_id: str
    ids: NDArray[numpy.int64]
    mask: NDArray[numpy.bool_]
    logprobs: NDArray[numpy.float32]
    versions: NDArray[numpy.int64]
    turns: NDArray[numpy.int64]
    weight: float

    @property
    def sampled(self) -> int:
        """How many tokens of this row are trained."""
        return int(self.mask.sum())


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows, what is in none of them, and how the calls of the episodes that ended well are linked."""

    rows: tuple[Row, ...]
    excluded: tuple[Exclusion, ...]
    links: Links = Links()  # noqa: RUF009 - immutable


def build_rows(episodes: Iterable[Episode], view: RowView = RowView.MERGED) -> RowSet:
    """The rows of all episodes that ended well, and a list of every model call that is in none.

    Episodes whose status is neither `ok` nor `truncated` never become rows. An episode that ended well but whose reward
    is `None` does (it can be imitated); asking for its advantage raises `UnscoredRewardError`.
    """
    rows: list[Row] = []
    excluded: list[Exclusion] = []
    links = Links()
    for episode in episodes:
        if not episode.status.scored:
            excluded.extend(_failed(episode))
            continue
        built = _rows_of(episode, view)
        rows.extend(built.rows)
        excluded.extend(built.excluded)
        links += built.links
    return RowSet(tuple(rows), tuple(excluded), links)


def _failed(episode: Episode) -> list[Exclusion]:
    if not episode.turns:
        return [Exclusion(episode.id, None, Excluded.EPISODE_FAILED, 0)]
    turns = sorted(episode.turns, key=lambda turn: turn.index)
    return [Exclusion(episode.id, turn.index, Excluded.EPISODE_FAILED, _count(turn.action.tokens)) for turn in turns]


def _count(tokens: TokenRecord | None) -> int | None:
    return None if tokens is None else len(tokens.sampled_ids)


def _rows_of(episode: Episode, view: RowView) -> RowSet:
    graph = TokenGraph.of(episode)
    retried = graph.retried()
    groups = [tuple(at for at in group if at not in retried) for group in _groups(graph, view)]
    chosen = {position for group in groups for position in group}
    excluded = [
        Exclusion(episode.id, turn.index, Excluded.NO_TOKEN_RECORD, None)
        for turn in episode.turns
        if turn.action.tokens is None
    ]
    for position, call in enumerate(graph.calls):
        tokens = len(call.tokens.sampled_ids)
        if not tokens:
            excluded.append(Exclusion(episode.id, call.turn, Excluded.NOTHING_SAMPLED, 0))
        elif position in retried:
            excluded.append(Exclusion(episode.id, call.turn, Excluded.RETRIED, tokens))
        elif position not in chosen:
            excluded.append(Exclusion(episode.id, call.turn, Excluded.NOT_IN_LAST_CHAIN, tokens))
    excluded.sort(key=lambda one: -1 if one.turn is None else one.turn)
    trained = sum(len(graph.calls[position].tokens.sampled_ids) for position in chosen)
    rows = [_row(episode, graph, group, trained) for group in groups]
    return RowSet(tuple(row for row in rows if row is not None), tuple(excluded), graph.links())


def _groups(graph: TokenGraph, view: RowView) -> Sequence[tuple[int, ...]]:
    """The calls trained in each row; the last one holds the row's tokens."""
    if not graph.calls:
        return []
    if view is RowView.MERGED:
        return graph.chains()
    if view is RowView.TRANSITION:
        return [(position,) for position in range(len(graph.calls))]
    return [graph.path(len(graph.calls) - 1)]


def _row(episode: Episode, graph: TokenGraph, group: tuple[int, ...], trained: int) -> Row | None:
    """One row, cut after its last sampled token; `None` when its calls sampled nothing."""
    calls = [graph.calls[position] for position in group if graph.calls[position].tokens.sampled_ids]
    if not calls:
        return None
    last = calls[-1].tokens
    ids = numpy.array(last.prompt_ids + last.sampled_ids, dtype=numpy.int64)
    mask = numpy.zeros(len(ids), dtype=numpy.bool_)
    logprobs = numpy.zeros(len(ids), dtype=numpy.float32)
    versions = numpy.full(len(ids), -1, dtype=numpy.int64)
    turns = numpy.full(len(ids), -1, dtype=numpy.int64)
    for call in calls:
        start = len(call.tokens.prompt_ids)
        mask[start : call.length] = True
        logprobs[start : call.length] = call.tokens.logprobs
        turns[start : call.length] = call.turn
        for span in call.tokens.versions:
            versions[start + span.start : start + span.end] = span.version
    for array in (ids, mask, logprobs, versions, turns):
        array.flags.writeable = False
    weight = int(mask.sum()) / trained
    return Row(episode.id, group_id(episode.key), ids, mask, logprobs, versions, turns, weight)
