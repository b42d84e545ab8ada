"""The token graph links calls by exact prefix, and names every departure."""

from __future__ import annotations

from dataclasses import replace

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
    assert parents(long, short, call([1, 2, 3, 4], [5])) == [1, None, 0]


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


def test_each_departure_is_named() -> None:
    first = call([1, 2], [3, 4])
    assert drifts(first, call([1, 9, 3, 4], [5])) == [None, Drift.PROMPT_CHANGED]
    assert drifts(first, call([1, 2, 3, 9], [5])) == [None, Drift.ANSWER_CHANGED]
    assert drifts(first, call([1, 2, 3], [5])) == [None, Drift.SHORTENED]
    assert drifts(first, call([1, 2, 3, 4, 5], [6])) == [None, None]


def test_a_prompt_asked_again_and_a_branch_from_a_whole_answer_are_no_drift() -> None:
    first = call([1, 2], [3, 4])
    assert drifts(first, call([1, 2], [5])) == [None, None]
    assert drifts(first, call([1, 2], [5]), call([1, 2, 3, 4, 6], [7])) == [None] * 3
    assert drifts(first, call([1, 2, 3, 4, 6], [7]), call([1, 2, 3, 4, 8], [9])) == [None] * 3


def test_a_child_that_was_written_down_before_its_parent_finds_it() -> None:
    graph = TokenGraph.of(episode(call([1, 2, 3, 4], [5]), call([1], [2])))
    assert [found.parent for found in graph.calls] == [1, None]
    assert graph.chains() == [(1, 0)]
    assert graph.path(0) == (1, 0)
    assert graph.drifts() == {}


def test_an_answer_nobody_used_is_retried_when_its_prompt_was_asked_again() -> None:
    graph = TokenGraph.of(episode(call([1], [2]), call([1], [3]), call([1, 3, 4], [5])))
    assert graph.retried() == {0}


def test_the_last_of_several_answers_to_one_prompt_may_be_what_the_episode_ended_with() -> None:
    assert TokenGraph.of(episode(call([1], [2]), call([1], [3]))).retried() == {0}
    assert TokenGraph.of(episode(call([1], [2]), call([1, 2, 4], [5]), call([1], [3]))).retried() == set()


def test_samples_that_were_all_gone_on_from_are_no_retries() -> None:
    calls = call([1], [2]), call([1], [3]), call([1, 2, 4], [5]), call([1, 3, 4], [6])
    assert TokenGraph.of(episode(*calls)).retried() == set()


def test_an_answer_gone_on_from_in_other_tokens_is_used_when_the_turn_says_so() -> None:
    made = episode(call([1], [2, 3]), call([1], [4]), call([1, 23, 5], [6]))
    assert TokenGraph.of(made).retried() == {0}
    told = replace(made.turns[2], info={"call": {"parent": 0}})
    assert TokenGraph.of(replace(made, turns=(*made.turns[:2], told))).retried() == set()


def test_a_retry_that_sampled_nothing_replaces_no_answer() -> None:
    assert TokenGraph.of(episode(call([1], [2]), call([1], []))).retried() == set()


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


def test_a_thousand_answers_to_one_prompt_are_a_thousand_chains() -> None:
    calls = [call([0], [1]), *(call([0, 1, 2, n], [n]) for n in range(1000))]
    assert len(TokenGraph.of(episode(*calls)).chains()) == 1000


token_ids = st.lists(st.integers(0, 2), max_size=4)


@given(st.lists(st.tuples(token_ids, token_ids), max_size=8))
def test_parents_are_those_that_comparing_every_pair_of_calls_finds(drawn: list[tuple[list[int], list[int]]]) -> None:
    calls = [call(prompt, sampled) for prompt, sampled in drawn]
    expected: list[int | None] = []
    for now in calls:
        fitting = [
            (len(other.prompt_ids + other.sampled_ids), len(other.prompt_ids), position)
            for position, other in enumerate(calls)
            if other.sampled_ids
            and now.prompt_ids[: len(other.prompt_ids + other.sampled_ids)] == other.prompt_ids + other.sampled_ids
        ]
        expected.append(max(fitting)[2] if fitting else None)
    assert parents(*calls) == expected


@given(st.lists(st.tuples(token_ids, token_ids), max_size=8))
def test_every_call_is_in_one_chain_of_calls_that_continue_each_other(
    drawn: list[tuple[list[int], list[int]]],
) -> None:
    graph = TokenGraph.of(episode(*(call(prompt, sampled) for prompt, sampled in drawn)))
    chains = graph.chains()
    assert sorted(position for chain in chains for position in chain) == list(range(len(drawn)))
    for chain in chains:
        assert [graph.calls[position].parent for position in chain[1:]] == list(chain[:-1])
    for position in range(len(drawn)):
        assert graph.calls[graph.path(position)[0]].parent is None
