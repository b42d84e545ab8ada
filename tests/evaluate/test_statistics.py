from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import UnscoredRewardError
from agentenv.evaluate.statistics import Estimate, Proportion, clustered_mean, success_rate, wilson


def test_one_episode_per_task_gives_the_usual_standard_error() -> None:
    # values 1, 0, 1, 0: s² = 4 · 0.25 / 3 = 1/3, SE = sqrt(1/3 / 4)
    estimate = clustered_mean([("a", 1.0), ("b", 0.0), ("c", 1.0), ("d", 0.0)])
    assert estimate.mean == 0.5
    assert estimate.standard_error == pytest.approx(math.sqrt(1 / 12))


def test_episodes_of_one_task_that_agree_count_as_one_observation() -> None:
    # two tasks, deviations sum to +1 and -1: SE = sqrt(2/1 · (1 + 1)) / 4 = 0.5, twice that of four tasks or so
    estimate = clustered_mean([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)])
    assert estimate == Estimate(0.5, 0.5, 4, 2)


def test_episodes_that_differ_within_tasks_only_leave_no_error_between_tasks() -> None:
    assert clustered_mean([("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", 0.0)]) == Estimate(0.5, 0.0, 4, 2)


def test_where_there_is_too_little_to_tell_nothing_is_made_up() -> None:
    assert clustered_mean([]) == Estimate(None, None, 0, 0)
    assert clustered_mean([("a", 1.0), ("a", 0.0)]) == Estimate(0.5, None, 2, 1)
    assert success_rate([]) == Proportion(None, None, None, 0)


def test_an_unscored_episode_is_never_averaged() -> None:
    with pytest.raises(UnscoredRewardError, match="b has no reward"):
        clustered_mean([("a", 1.0), ("b", None)])


def test_wilsons_interval_of_eight_in_ten_is_the_textbooks() -> None:
    assert wilson(0.8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_a_perfect_score_still_has_an_interval() -> None:
    # 20 of 20: low = 1 / (1 + z²/20)
    rate = success_rate([(str(task), True) for task in range(20)])
    assert (rate.rate, rate.high) == (1.0, 1.0)
    assert rate.low == pytest.approx(1 / (1 + 1.959964**2 / 20), abs=1e-6)


def test_many_samples_of_few_tasks_do_not_narrow_the_interval_beyond_the_tasks() -> None:
    few = success_rate([(task, task == "a") for task in "ab"])
    same = success_rate([(task, task == "a") for task in "ab" for _ in range(100)])
    assert (same.low, same.high) == (few.low, few.high)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=1))
def test_the_interval_holds_the_rate_and_lies_within_zero_and_one(outcomes: list[tuple[str, bool]]) -> None:
    found = success_rate(outcomes)
    assert found.rate is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.rate + 1e-12
    assert found.rate - 1e-12 <= found.high <= 1


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-10, 10)), min_size=2))
def test_shifting_every_reward_shifts_the_mean_and_leaves_the_error(values: list[tuple[str, float]]) -> None:
    before, after = clustered_mean(values), clustered_mean([(task, value + 5) for task, value in values])
    assert before.mean is not None
    assert after.mean == pytest.approx(before.mean + 5)
    if before.standard_error is not None:
        assert after.standard_error == pytest.approx(before.standard_error, abs=1e-6)
