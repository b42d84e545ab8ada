"""Every sampled token is in exactly one row, with its logprob, or excluded with a reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.episode import Episode
from agentenv.outcome import Status
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv.trajectory import Excluded, Row, RowSet, RowView, build_rows
from tests.trajectory.build import call, episode


def test_an_exact_chain_merges_into_one_row() -> None:
    built = build_rows([episode(call([1], [2, 3], version=4), call([1, 2, 3, 9], [5], version=6))])
    (row,) = built.rows
    assert row.ids.tolist() == [1, 2, 3, 9, 5]
    assert row.mask.tolist() == [False, True, True, False, True]
    assert row.logprobs.tolist() == [0.0, -0.5, -1.5, 0.0, -0.5]
    assert row.versions.tolist() == [-1, 4, 4, -1, 6]
    assert row.turns.tolist() == [-1, 0, 0, -1, 1]
    assert row.weight == 1.0
    assert built.excluded == ()


def test_the_transition_view_gives_one_row_per_call() -> None:
    built = build_rows([episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]))], RowView.TRANSITION)
    assert [row.ids.tolist() for row in built.rows] == [[1, 2, 3], [1, 2, 3, 9, 5]]
    assert [row.mask.tolist() for row in built.rows] == [[False, True, True], [False] * 4 + [True]]
    assert [row.weight for row in built.rows] == [2 / 3, 1 / 3]


def test_on_a_branch_the_tokens_of_another_row_are_context() -> None:
    calls = call([1], [2]), call([1, 2, 3], [4]), call([1, 2, 5], [6])
    rows = build_rows([episode(*calls)]).rows
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3, 4], [1, 2, 5, 6]]
    assert [row.mask.tolist() for row in rows] == [[False, True, False, True], [False, False, False, True]]


def test_the_masked_view_trains_the_last_conversation_and_names_what_it_leaves_out() -> None:
    calls = call([1], [2]), call([7], [8, 8]), call([1, 2, 3], [4])
    built = build_rows([episode(*calls)], RowView.MASKED)
    (row,) = built.rows
    assert row.ids.tolist() == [1, 2, 3, 4]
    assert row.mask.tolist() == [False, True, False, True]
    assert [(one.turn, one.reason, one.tokens) for one in built.excluded] == [(1, Excluded.NOT_IN_LAST_CHAIN, 2)]


def test_an_edited_answer_starts_a_new_row_instead_of_training_tokens_nobody_sampled() -> None:
    rows = build_rows([episode(call([1], [2, 3]), call([1, 2, 9, 4], [5]))]).rows
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3], [1, 2, 9, 4, 5]]
    assert [row.sampled for row in rows] == [2, 1]


@pytest.mark.parametrize("status", [status for status in Status if not status.scored])
def test_a_failed_episode_never_becomes_a_row(status: Status) -> None:
    built = build_rows([episode(call([1], [2, 3]), None, status=status)])
    assert built.rows == ()
    assert [(one.turn, one.reason, one.tokens) for one in built.excluded] == [
        (0, Excluded.EPISODE_FAILED, 2),
        (1, Excluded.EPISODE_FAILED, None),
    ]


def test_a_failed_episode_without_turns_is_listed() -> None:
    (left_out,) = build_rows([episode(status=Status.ENV_ERROR)]).excluded
    assert (left_out.turn, left_out.reason, left_out.tokens) == (None, Excluded.EPISODE_FAILED, 0)


def test_missing_records_and_empty_answers_are_listed_with_their_reason() -> None:
    built = build_rows([episode(None, call([1], []), call([1], [2]))])
    assert [row.ids.tolist() for row in built.rows] == [[1, 2]]
    assert Counter(one.reason for one in built.excluded) == {Excluded.NO_TOKEN_RECORD: 1, Excluded.NOTHING_SAMPLED: 1}


def test_versions_may_change_within_one_answer() -> None:
    record = TokenRecord((1,), (2, 3, 4), (-1.0, -1.0, -1.0), (VersionSpan(5, 0, 1), VersionSpan(6, 1, 3)))
    assert build_rows([episode(record)]).rows[0].versions.tolist() == [-1, 5, 6, 6]


def test_rows_cannot_be_written_to() -> None:
    row = build_rows([episode(call([1], [2]))]).rows[0]
    with pytest.raises(ValueError, match="read-only"):
        row.ids[0] = 7


def test_a_retry_replaces_the_answer_nobody_used_and_is_counted() -> None:
    built = build_rows([episode(call([1], [2, 2]), call([1], [3]), call([1, 3, 4], [5]))])
    (row,) = built.rows
    assert row.ids.tolist() == [1, 3, 4, 5]
    assert row.weight == 1.0
    assert [(one.turn, one.reason, one.tokens) for one in built.excluded] == [(0, Excluded.RETRIED, 2)]


def test_samples_that_were_all_gone_on_from_are_all_trained() -> None:
    built = build_rows([episode(call([1], [2]), call([1], [3]), call([1, 2, 4], [5]), call([1, 3, 4], [6]))])
    assert [row.ids.tolist() for row in built.rows] == [[1, 2, 4, 5], [1, 3, 4, 6]]
    assert all(row.sampled == 2 for row in built.rows)
    assert built.excluded == ()


def test_a_subagent_that_was_written_down_first_changes_nothing() -> None:
    agent = call([1], [2]), call([1, 2, 3], [4])
    subagent = call([7], [8]), call([7, 8, 9], [9])
    expected = {(1, 2, 3, 4), (7, 8, 9, 9)}
    for calls in ((*agent, *subagent), (*reversed(subagent), *agent), (agent[1], *subagent, agent[0])):
        built = build_rows([episode(*calls)])
        assert {tuple(row.ids.tolist()) for row in built.rows} == expected
        assert built.excluded == ()


tokens = st.lists(st.integers(0, 2), max_size=3)


@st.composite
def histories(draw: st.DrawFn) -> Episode:
    """Any mixture of continued, branched, rewritten, edited, retried, repeated, unrecorded and empty calls."""
    calls: list[TokenRecord | None] = []
    for _ in range(draw(st.integers(0, 7))):
        known = [one for one in calls if one is not None]
        kinds = ["new", "missing", "continue", "branch", "edit", "retry", "duplicate"]
        kind = draw(st.sampled_from(kinds if known else kinds[:2]))
        sampled = draw(tokens)
        if kind == "duplicate":
            calls.append(draw(st.sampled_from(known)))
            continue
        if kind == "missing":
            calls.append(None)
            continue
        if kind == "new":
            prompt = draw(tokens)
        else:
            origin = draw(st.sampled_from(known)) if kind in ("branch", "retry") else known[-1]
            going_on = () if kind == "retry" else (*origin.sampled_ids, *draw(tokens))
            prompt = [*origin.prompt_ids, *going_on]
            if kind == "edit" and prompt:
                prompt[draw(st.integers(0, len(prompt) - 1))] = 9
        # Distinct logprobs tell every sampled token from every other.
        calls.append(call(prompt, sampled, logprob=-1000.0 * len(calls), version=len(calls)))
    return episode(*calls, id=draw(st.sampled_from("ab")), status=draw(st.sampled_from(list(Status))))


@given(st.lists(histories(), max_size=3), st.sampled_from(list(RowView)))
def test_every_sampled_token_lands_in_exactly_one_row_or_is_excluded_with_a_reason(
    drawn: list[Episode], view: RowView
) -> None:
    episodes = [_renamed(one, str(number)) for number, one in enumerate(drawn)]
    built = build_rows(episodes, view)
    found: Counter[tuple[str, int, int, float, int]] = Counter()
    for row in built.rows:
        for at in numpy.nonzero(row.mask)[0]:
            token = int(row.ids[at]), float(row.logprobs[at]), int(row.versions[at])
            found[row.episode_id, int(row.turns[at]), *token] += 1
    sampled: Counter[tuple[str, int, int, float, int]] = Counter()
    excluded = {(one.episode_id, one.turn): one for one in built.excluded}
    assert len(excluded) == len(built.excluded)
    for one in episodes:
        for turn in one.turns:
            record = turn.action.tokens
            left_out = excluded.get((one.id, turn.index))
            if left_out is not None:
                assert left_out.tokens == (None if record is None else len(record.sampled_ids))
                continue
            assert record is not None
            for token, logprob in zip(record.sampled_ids, record.logprobs, strict=True):
                sampled[one.id, turn.index, token, float(numpy.float32(logprob)), record.versions[0].version] += 1
    assert found == sampled


@given(st.lists(histories(), max_size=3), st.sampled_from(list(RowView)))
def test_a_row_is_what_the_model_saw_when_it_sampled(drawn: list[Episode], view: RowView) -> None:
    episodes = {str(number): _renamed(one, str(number)) for number, one in enumerate(drawn)}
    for row in build_rows(list(episodes.values()), view).rows:
        for turn in set(row.turns[row.mask].tolist()):
            record = episodes[row.episode_id].turns[turn].action.tokens
            assert record is not None
            whole = record.prompt_ids + record.sampled_ids
            assert tuple(row.ids[: len(whole)].tolist()) == whole


@given(st.lists(histories(), max_size=3), st.sampled_from(list(RowView)))
def test_the_weights_of_an_episodes_rows_sum_to_one_however_many_they_are(drawn: list[Episode], view: RowView) -> None:
    episodes = [_renamed(one, str(number)) for number, one in enumerate(drawn)]
    total: dict[str, float] = {}
    for row in build_rows(episodes, view).rows:
        total[row.episode_id] = total.get(row.episode_id, 0.0) + row.weight
    assert list(total.values()) == pytest.approx([1.0] * len(total))


@given(histories())
def test_nothing_off_the_mask_carries_a_logprob_version_or_turn(drawn: Episode) -> None:
    for row in build_rows([drawn]).rows:
        assert not row.logprobs[~row.mask].any()
        assert (row.versions[~row.mask] == -1).all()
        assert (row.turns[~row.mask] == -1).all()


@given(histories())
def test_the_merged_view_trains_the_same_tokens_as_the_transition_view_in_no_more_rows(drawn: Episode) -> None:
    merged, single = (build_rows([drawn], view) for view in (RowView.MERGED, RowView.TRANSITION))
    assert merged.excluded == single.excluded
    assert sum(row.sampled for row in merged.rows) == sum(row.sampled for row in single.rows)
    assert sum(len(row.ids) for row in merged.rows) <= sum(len(row.ids) for row in single.rows)


@given(histories(), st.randoms(use_true_random=False), st.sampled_from(list(RowView)))
def test_the_order_in_which_turns_were_written_down_changes_nothing(
    drawn: Episode, shuffle: Random, view: RowView
) -> None:
    turns = list(drawn.turns)
    shuffle.shuffle(turns)
    before, after = build_rows([drawn], view), build_rows([replace(drawn, turns=tuple(turns))], view)
    assert [_contents(row) for row in before.rows] == [_contents(row) for row in after.rows]
    assert before.excluded == after.excluded


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_calls_were_made_decides_which_answer_was_retried_and_nothing_else(
    drawn: Episode, shuffle: Random
) -> None:
    turns = list(drawn.turns)
    shuffle.shuffle(turns)
    renumbered = tuple(replace(turn, index=index) for index, turn in enumerate(turns))
    before, after = build_rows([drawn]), build_rows([replace(drawn, turns=renumbered)])
    prompts = [turn.action.tokens.prompt_ids for turn in turns if turn.action.tokens and turn.action.tokens.sampled_ids]
    if len(set(prompts)) == len(prompts):
        assert _by_reason(before) == _by_reason(after)
        assert Counter(_contents(row)[:4] for row in before.rows) == Counter(_contents(row)[:4] for row in after.rows)
    for reason in set(Excluded) - {Excluded.RETRIED}:
        assert _by_reason(before)[reason] == _by_reason(after)[reason]


def _by_reason(built: RowSet) -> Counter[Excluded]:
    return Counter(one.reason for one in built.excluded)


def _contents(row: Row) -> tuple[object, ...]:
    columns = (row.ids, row.mask, row.logprobs, row.versions, row.turns)
    return *(tuple(column.tolist()) for column in columns), row.weight


def _renamed(one: Episode, id: str) -> Episode:
    return Episode(id, one.key, one.task, one.seed, one.policy, one.attempt, one.status, one.stop_reason, one.turns)
