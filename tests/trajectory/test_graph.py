"""The token graph links calls by exact prefix, and names every departure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentenv.tokens import TokenRecord
from agentenv.trajectory import Drift, TokenGraph
from tests.trajectory.build import call, episode


def parents(*calls: TokenRecord | None) -> list[int | None]:
    return [found.parent for found in TokenGraph.of(episode(*calls)).calls]


def drifts(*calls: TokenRecord | None) -> list[Drift | None]:
    return [found.drift for found in TokenGraph.of(episode(*calls)).calls]


def test_a_growing_conversation_is_one_chain() -> None:
    calls = call([1], [2, 3]), call([1, 2, 3, 4], [5]), call([1, 2, 3, 4, 5, 6], [7])
    graph = TokenGraph.of(episode(*calls))
    assert [found.parent for found in graph.calls] == [None, 0, 1]
    assert graph.chains() == [(0, 1, 2)]
    assert graph.drifts() == {}
    assert graph.roots == 1


def test_the_longest_exact_prefix_wins() -> None:
    short, long = call([1], [2]), call([1, 2], [3])
    assert parents(short, long, call([1, 2, 3, 4], [5])) == [None, 0, 1]
    assert parents(long, short, call([1, 2, 3, 4], [5])) == [None, None, 0]


def test_among_equal_prefixes_the_latest_wins() -> None:
    assert parents(call([1], [2]), call([1], [2]), call([1, 2], [3])) == [None, None, 1]


def test_a_prompt_equal_to_earlier_tokens_continues_them() -> None:
    assert parents(call([1], [2]), call([1, 2], [3])) == [None, 0]


def test_two_calls_from_the_same_point_make_a_branch() -> None:
    calls = call([1], [2]), call([1, 2, 3], [4]), call([1, 2, 5], [6]), call([1, 2, 5, 6], [7])
    graph = TokenGraph.of(episode(*calls))
    assert [found.parent for found in graph.calls] == [None, 0, 0, 2]
    assert graph.chains() == [(0, 1), (2, 3)]
    assert graph.path(3) == (0, 2, 3)


def test_each_departure_from_the_call_before_is_named() -> None:
    first = call([1, 2], [3, 4])
    assert drifts(first, call([1, 9, 3, 4], [5])) == [None, Drift.PROMPT_CHANGED]
    assert drifts(first, call([1, 2, 3, 9], [5])) == [None, Drift.ANSWER_CHANGED]
    assert drifts(first, call([1, 2, 3], [5])) == [None, Drift.SHORTENED]
    assert drifts(first, call([1], [5])) == [None, Drift.SHORTENED]
    assert drifts(first, call([1, 2, 3, 4, 5], [6])) == [None, None]


def test_a_branch_away_from_the_latest_call_is_drift_although_it_has_a_parent() -> None:
    calls = call([1], [2]), call([1, 2, 3], [4]), call([1, 2, 3, 9, 9], [5])
    graph = TokenGraph.of(episode(*calls))
    assert graph.calls[2].parent == 0
    assert graph.drifts() == {Drift.ANSWER_CHANGED: 1}


def test_turns_without_a_token_record_are_skipped_and_keep_their_index() -> None:
    graph = TokenGraph.of(episode(call([1], [2]), None, call([1, 2, 3], [4])))
    assert [(found.turn, found.parent) for found in graph.calls] == [(0, None), (2, 0)]


def test_a_call_without_any_token_is_nobodys_parent() -> None:
    assert parents(call([], []), call([1], [2])) == [None, None]


def test_a_thousand_turns_need_no_recursion() -> None:
    context: list[int] = [0]
    calls = []
    for turn in range(1000):
        calls.append(call(context, [turn]))
        context = [*context, turn, -turn]
    graph = TokenGraph.of(episode(*calls))
    assert graph.chains() == [tuple(range(1000))]
    assert graph.path(999) == tuple(range(1000))


token_ids = st.lists(st.integers(0, 2), max_size=4)


@given(st.lists(st.tuples(token_ids, token_ids), max_size=8))
def test_parents_are_those_that_comparing_every_pair_of_calls_finds(drawn: list[tuple[list[int], list[int]]]) -> None:
    calls = [call(prompt, sampled) for prompt, sampled in drawn]
    expected: list[int | None] = []
    for position, now in enumerate(calls):
        best: int | None = None
        for earlier in range(position):
            whole = calls[earlier].prompt_ids + calls[earlier].sampled_ids
            longest = 0 if best is None else len(calls[best].prompt_ids + calls[best].sampled_ids)
            if whole and now.prompt_ids[: len(whole)] == whole and len(whole) >= longest:
                best = earlier
        expected.append(best)
    assert parents(*calls) == expected
