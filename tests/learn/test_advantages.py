"""Group-relative advantages against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.learn.advantages import grpo


def test_advantages_are_centred_and_divided_by_the_unbiased_deviation_of_the_group() -> None:
    # mean 0.25; squared deviations 0.5625 + 3 · 0.0625 = 0.75; unbiased variance 0.75 / 3 = 0.25; deviation 0.5.
    found = grpo([1.0, 0.0, 0.0, 0.0], ["a"] * 4, epsilon=0.0)
    assert found.values == pytest.approx([1.5, -0.5, -0.5, -0.5])


def test_the_population_deviation_divides_by_the_group_size() -> None:
    # The same with variance 0.75 / 4 = 0.1875.
    found = grpo([1.0, 0.0, 0.0, 0.0], ["a"] * 4, ddof=0, epsilon=0.0)
    assert found.values == pytest.approx([0.75 / math.sqrt(0.1875)] + [-0.25 / math.sqrt(0.1875)] * 3)


def test_epsilon_is_added_to_the_deviation() -> None:
    # mean 0.5, unbiased variance 0.5, deviation 0.70711.
    assert grpo([1.0, 0.0], ["a", "a"], epsilon=1.0).values == pytest.approx([0.5 / 1.7071068, -0.5 / 1.7071068])


def test_without_the_deviation_rewards_are_only_centred() -> None:
    assert grpo([3.0, 0.0, 0.0], ["a"] * 3, divide_by_std=False).values == (2.0, -1.0, -1.0)


def test_groups_do_not_see_each_other() -> None:
    found = grpo([1.0, 10.0, 0.0, 30.0], ["a", "b", "a", "b"], divide_by_std=False)
    assert found.values == (0.5, -10.0, -0.5, 10.0)
    assert found.groups == 2


def test_a_group_of_one_gives_zero_and_is_counted() -> None:
    found = grpo([1.0], ["a"])
    assert found.values == (0.0,)
    assert (found.groups, found.singleton_groups, found.zero_variance_groups) == (1, 1, 0)


def test_equal_rewards_give_exactly_zero_also_when_their_mean_rounds() -> None:
    found = grpo([0.1] * 3, ["a"] * 3)
    assert found.values == (0.0, 0.0, 0.0)
    assert (found.singleton_groups, found.zero_variance_groups) == (0, 1)


def test_unscored_members_are_left_out_and_stay_none() -> None:
    # As if the group were [1, 0]: mean 0.5, not 1/3; deviation √0.5.
    found = grpo([1.0, None, 0.0], ["a"] * 3, epsilon=0.0)
    assert found.values[1] is None
    assert [found.values[0], found.values[2]] == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)])
    assert found.unscored == 1


def test_a_group_without_any_score_is_not_a_group() -> None:
    found = grpo([None, None], ["a", "a"])
    assert found.values == (None, None)
    assert (found.groups, found.unscored) == (0, 2)


def test_one_group_name_per_reward_is_required() -> None:
    with pytest.raises(ValueError, match="shorter"):
        grpo([1.0, 2.0], ["a"])


rewards = st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("abc")), min_size=1, max_size=12)


@given(rewards, st.randoms(use_true_random=False))
def test_the_order_of_episodes_does_not_matter(drawn: list[tuple[float, str]], random: object) -> None:
    order = list(range(len(drawn)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = grpo([value for value, _ in drawn], [group for _, group in drawn])
    mixed = grpo([drawn[at][0] for at in order], [drawn[at][1] for at in order])
    assert [mixed.values[order.index(at)] for at in range(len(drawn))] == pytest.approx(list(straight.values))


@given(rewards)
def test_the_advantages_of_a_group_sum_to_zero(drawn: list[tuple[float, str]]) -> None:
    found = grpo([value for value, _ in drawn], [group for _, group in drawn], divide_by_std=False)
    for name in {group for _, group in drawn}:
        of_group = [value for value, (_, group) in zip(found.values, drawn, strict=True) if group == name]
        assert math.fsum(value for value in of_group if value is not None) == pytest.approx(0.0, abs=1e-9)
