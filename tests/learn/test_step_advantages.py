"""Advantages of turns, tokens and selected groups, against numbers worked by hand, and what must not change them."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import ConfigError
from agentenv.learn.advantages import (
    Baseline,
    explained_variance,
    gigpo,
    grpo,
    masked_gae,
    maxrl,
    overlong_penalty,
    process_supervision,
    reinforce,
    resample_on_correct,
    returns_to_go,
    rloo,
    turn_gae,
    whitened,
)

# --- relatives of GRPO ------------------------------------------------------------------------------------------------


def test_leave_one_out_is_the_distance_to_the_mean_of_the_others() -> None:
    # Others of 4: mean of 1 and 1 is 1; others of a 1: mean of 4 and 1 is 2.5.
    assert rloo([4.0, 1.0, 1.0], ["a"] * 3).values == pytest.approx((3.0, -1.5, -1.5))


def test_leave_one_out_is_the_centred_reward_stretched_by_n_over_n_minus_one() -> None:
    rewards = [0.3, 1.0, -2.0, 0.7]
    plain = grpo(rewards, ["a"] * 4, divide_by_std=False).values
    assert rloo(rewards, ["a"] * 4).values == pytest.approx([4 / 3 * value for value in plain if value is not None])


def test_maximum_likelihood_advantages_divide_by_the_rate_of_success() -> None:
    # One success in five: mean 0.2, so (1 − 0.2)/0.2 = 4 and (0 − 0.2)/0.2 = −1.
    assert maxrl([1.0, 0.0, 0.0, 0.0, 0.0], ["a"] * 5).values == pytest.approx((4.0, -1.0, -1.0, -1.0, -1.0))
    nothing = maxrl([0.0, 0.0], ["a", "a"])
    assert (nothing.values, nothing.zero_variance_groups) == ((0.0, 0.0), 1)
    with pytest.raises(ConfigError, match="must not be negative"):
        maxrl([-1.0, 1.0], ["a", "a"])


@pytest.mark.parametrize(
    ("baseline", "values"),
    [
        (Baseline.NONE, (1.0, 0.0, 5.0, None)),
        (Baseline.BATCH, (-1.0, -2.0, 3.0, None)),  # mean of the three scored is 2
        (Baseline.GROUP, (0.5, -0.5, 0.0, None)),  # the third is alone in its group
    ],
)
def test_reinforce_subtracts_the_baseline_it_was_given(baseline: Baseline, values: tuple[float | None, ...]) -> None:
    assert reinforce([1.0, 0.0, 5.0, None], ["a", "a", "b", "b"], baseline=baseline).values == values


# --- step rewards -----------------------------------------------------------------------------------------------------


def test_process_supervision_sums_the_normalised_rewards_still_to_come() -> None:
    # Steps of the group: 1, 0, 0, 3; mean 1; squared deviations 0 + 1 + 1 + 4 = 6; unbiased variance 2.
    found = process_supervision([[1.0, 0.0], [0.0, 3.0]], ["a", "a"], epsilon=0.0).values
    root = math.sqrt(2)
    assert found[0] == pytest.approx((-1 / root, -1 / root))
    assert found[1] == pytest.approx((1 / root, 2 / root))


def test_process_supervision_knows_episodes_of_different_lengths_and_none() -> None:
    found = process_supervision([[2.0], [0.0, None], [0.0, 1.0, 1.0]], ["a"] * 3, epsilon=0.0)
    # Steps 2, 0, 1, 1: mean 1, squared deviations 1 + 1, unbiased variance 2/3.
    unit = math.sqrt(1.5)
    assert found.values[1] is None
    assert found.values[0] == pytest.approx((unit,))
    assert found.values[2] == pytest.approx((-unit, 0.0, 0.0))
    assert found.episodes.unscored == 1


def test_gigpo_adds_the_comparison_within_a_state_to_that_of_whole_episodes() -> None:
    # Discount 0.5. Returns to go: episode 0: [0 + 0.5·1, 1] = [0.5, 1]; episode 1: [0, 0].
    # Returns 1 and 0: A^E = ±0.5. State s: 0.5 against 0, centred ±0.25. States x and y are seen once: 0.
    found = gigpo(
        [[0.0, 1.0], [0.0, 0.0]],
        [["s", "x"], ["s", "y"]],
        ["a", "a"],
        discount=0.5,
        divide_by_std=False,
    )
    assert found.values == (pytest.approx((0.75, 0.5)), pytest.approx((-0.75, -0.5)))
    assert found.anchors == 1


def test_gigpo_weighs_the_two_parts_and_divides_each_by_its_own_deviation() -> None:
    # Two values: each is 1/√2 deviations from its mean, in the episodes' returns as in state s.
    found = gigpo([[0.0, 1.0], [0.0, 0.0]], [["s", None], ["s", None]], ["a", "a"], step_weight=3.0, epsilon=0.0)
    one = 1 / math.sqrt(2)
    assert found.values == (pytest.approx((4 * one, one)), pytest.approx((-4 * one, -one)))


def test_a_state_revisited_within_an_episode_counts_each_time() -> None:
    # Undiscounted returns to go at s: 1 and 1 in the first episode, 0 in the second: mean 2/3.
    found = gigpo([[0.0, 1.0], [0.0]], [["s", "s"], ["s"]], ["a", "a"], discount=1.0, divide_by_std=False)
    assert found.values == (pytest.approx((0.5 + 1 / 3, 0.5 + 1 / 3)), pytest.approx((-0.5 - 2 / 3,)))


def test_states_are_compared_within_a_group_only_and_without_a_name_never() -> None:
    found = gigpo([[1.0], [0.0], [5.0]], [["s"], [None], ["s"]], ["a", "a", "b"], divide_by_std=False)
    assert found.values == (pytest.approx((0.5,)), pytest.approx((-0.5,)), pytest.approx((0.0,)))
    assert found.anchors == 0


@given(st.permutations(range(5)))
def test_gigpo_does_not_depend_on_the_order_of_episodes(order: list[int]) -> None:
    rewards = [[0.0, 1.0], [0.5], [0.0, 0.0, 2.0], [1.0, 1.0], [0.25]]
    keys = [["s", "t"], ["s"], ["s", "t", "s"], ["t", "t"], ["s"]]
    groups = ["a", "a", "a", "b", "b"]
    straight = gigpo(rewards, keys, groups).values
    mixed = gigpo([rewards[at] for at in order], [keys[at] for at in order], [groups[at] for at in order]).values
    for place, at in enumerate(order):
        assert mixed[place] == pytest.approx(straight[at])


# --- with a critic ----------------------------------------------------------------------------------------------------


def test_gae_worked_by_hand() -> None:
    # γ = 0.5, λ = 0.5. δ_2 = 1 − 0.5 = 0.5; δ_1 = 0.5·0.5 − 1 = −0.75; δ_0 = 0.5·1 − 0.5 = 0.
    # A_2 = 0.5; A_1 = −0.75 + 0.25·0.5 = −0.625; A_0 = 0 + 0.25·(−0.625) = −0.15625.
    # λ = 1 targets are discounted returns: R_2 = 1, R_1 = 0.5, R_0 = 0.25.
    found = masked_gae([0, 0, 1], [0.5, 1.0, 0.5], [1, 1, 1], discount=0.5, trace=0.5)
    assert found.advantages.tolist() == pytest.approx([-0.15625, -0.625, 0.5])
    assert found.returns.tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not() -> None:
    ended = masked_gae([1.0], [0.5], [True], discount=0.9)
    cut = masked_gae([1.0], [0.5], [True], discount=0.9, last_value=2.0)
    assert ended.advantages.tolist() == pytest.approx([0.5])
    assert cut.advantages.tolist() == pytest.approx([1.0 + 0.9 * 2.0 - 0.5])
    assert cut.returns.tolist() == pytest.approx([2.8])


tokens = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.booleans()), min_size=1, max_size=12).filter(
    lambda drawn: any(sampled for _, _, sampled in drawn)
)


@given(tokens, st.floats(-9, 9), st.floats(0, 1), st.floats(0, 1))
def test_what_stands_at_a_masked_position_changes_nothing(
    drawn: list[tuple[float, float, bool]], noise: float, discount: float, trace: float
) -> None:
    rewards, values, mask = (list(column) for column in zip(*drawn, strict=True))
    before = masked_gae(rewards, values, mask, discount=discount, trace=trace)
    noisy_rewards = [reward if sampled else noise for reward, _, sampled in drawn]
    noisy_values = [value if sampled else -noise for _, value, sampled in drawn]
    after = masked_gae(noisy_rewards, noisy_values, mask, discount=discount, trace=trace)
    assert after.advantages.tolist() == before.advantages.tolist()
    assert after.returns.tolist() == before.returns.tolist()


@given(tokens, st.integers(0, 12), st.integers(1, 5))
def test_masked_tokens_put_in_anywhere_change_nothing(
    drawn: list[tuple[float, float, bool]], place: int, count: int
) -> None:
    longer = [*drawn[:place], *[(7.0, -7.0, False)] * count, *drawn[place:]]
    short = masked_gae(*zip(*drawn, strict=True), discount=0.9, trace=0.8)
    long = masked_gae(*zip(*longer, strict=True), discount=0.9, trace=0.8)
    kept = [at for at, (_, _, sampled) in enumerate(drawn) if sampled]
    kept_longer = [at for at, (_, _, sampled) in enumerate(longer) if sampled]
    assert long.advantages[kept_longer].tolist() == short.advantages[kept].tolist()
    assert long.returns[kept_longer].tolist() == short.returns[kept].tolist()


def test_a_turn_is_one_time_step_whatever_its_length() -> None:
    # Turn 0 holds tokens 1 and 2, turn 1 tokens 4 and 5. Rewards 0.5 and 1; values at first tokens 0.25 and 0.5.
    # γ = 0.5, λ = 0.5: A_1 = 1 − 0.5 = 0.5; A_0 = 0.5 + 0.5·0.5 − 0.25 + 0.25·0.5 = 0.625.
    # λ = 1 targets: 1 and 0.5 + 0.5·1 = 1.
    found = turn_gae(
        [9.0, 0.25, 0.25, 9.0, 0.0, 1.0],
        [9.0, 0.25, -9.0, 9.0, 0.5, -9.0],
        [-1, 0, 0, -1, 1, 1],
        discount=0.5,
        trace=0.5,
    )
    assert found.advantages.tolist() == pytest.approx([0, 0.625, 0.625, 0, 0.5, 0.5])
    assert found.returns.tolist() == pytest.approx([0, 1.0, 1.0, 0, 1.0, 1.0])


def test_turns_of_one_token_are_the_tokens_themselves() -> None:
    rewards, values = [0.1, -0.4, 1.0], [0.3, 0.2, -0.1]
    by_token = masked_gae(rewards, values, [1, 1, 1], discount=0.9, trace=0.7, last_value=0.5)
    by_turn = turn_gae(rewards, values, [0, 1, 2], discount=0.9, trace=0.7, last_value=0.5)
    assert by_turn.advantages.tolist() == pytest.approx(by_token.advantages.tolist())
    assert by_turn.returns.tolist() == pytest.approx(by_token.returns.tolist())


def test_turns_out_of_order_and_streams_of_unequal_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="in their order"):
        turn_gae([0.0, 0.0], [0.0, 0.0], [1, 0])
    with pytest.raises(ConfigError, match="one length"):
        masked_gae([0.0], [0.0, 0.0], [True])


def test_returns_to_go_do_not_discount_across_observations() -> None:
    found = returns_to_go([0.0, 9.0, 9.0, 0.0, 1.0], [1, 0, 0, 1, 1], discount=0.5)
    assert found.tolist() == [0.25, 0.0, 0.0, 0.5, 1.0]


def test_whitening_looks_at_sampled_tokens_of_all_rows_together() -> None:
    # 1 and 3, wherever they lie: mean 2, unbiased deviation √2.
    streams = [numpy.array([1.0, 50.0]), numpy.array([3.0])]
    masks = [numpy.array([True, False]), numpy.array([True])]
    first, second = whitened(streams, masks, epsilon=0.0)
    assert first.tolist() == pytest.approx([-1 / math.sqrt(2), 0.0])
    assert second.tolist() == pytest.approx([1 / math.sqrt(2)])
    assert [stream.tolist() for stream in whitened([streams[1]], [masks[1]])] == [[0.0]]


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one() -> None:
    assert explained_variance([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]) == 1.0
    assert explained_variance([7.0, 7.0], [0.0, 1.0]) == pytest.approx(0.0)
    assert explained_variance([1.0, 0.0], [0.0, 1.0]) == pytest.approx(-3.0)  # Var(R − V) = 1, Var(R) = 1/4
    assert math.isnan(explained_variance([0.0, 1.0], [1.0, 1.0]))


# --- selection --------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=2, max_size=16).filter(lambda drawn: len(drawn) % 2 == 0), st.integers())
def test_exactly_half_is_kept_with_both_kinds_in_proportion(correct: list[bool], seed: int) -> None:
    kept = resample_on_correct(correct, [0.0] * len(correct), random.Random(seed))
    assert len(kept) == len(set(kept)) == len(correct) // 2
    assert sum(correct[at] for at in kept) == (sum(correct) + 1) // 2


def test_clean_successes_are_kept_more_often_in_the_inverse_ratio_of_their_penalties() -> None:
    # Of two successes one is kept: penalties 0.1 and 0.3 make it the first in 3 of 4 draws.
    rng = random.Random(0)
    counts = Counter(resample_on_correct([True, True], [0.1, 0.3], rng, epsilon=0.0)[0] for _ in range(8000))
    assert counts[0] / 8000 == pytest.approx(0.75, abs=0.02)


def test_failures_are_halved_uniformly_whatever_their_penalty() -> None:
    rng = random.Random(0)
    counts = Counter(resample_on_correct([False, False], [0.0, 5.0], rng)[0] for _ in range(8000))
    assert counts[0] / 8000 == pytest.approx(0.5, abs=0.02)


def test_overlong_answers_are_charged_linearly_and_bad_bounds_refused() -> None:
    assert [overlong_penalty(length, 100, 40) for length in (0, 60, 80, 100, 101)] == [0.0, 0.0, -0.5, -1.0, -1.0]
    with pytest.raises(ConfigError, match="cushion"):
        overlong_penalty(1, 100, 0)
    with pytest.raises(ConfigError, match="even number"):
        resample_on_correct([True], [0.0], random.Random(0))
