"""Which advantage each token gets: numbers worked by hand, and views of the same tokens that must agree."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy
import pytest

from agentenv.episode import Episode
from agentenv.learn.config import AdvantageConfig, OverlongConfig
from agentenv.learn.config.advantage import (
    Gigpo,
    Grpo,
    Imitation,
    Keep,
    ProcessSupervision,
    ReinforcePlusPlus,
    TokenGae,
    TurnGae,
)
from agentenv.learn.credit import Credit, assign
from agentenv.learn.experience import Experience
from agentenv.outcome import Status
from agentenv.trajectory import RowView, build_rows
from tests.trajectory.build import call, episode, reward

GAE = {"whiten": False, "trace": 1.0}


def two_turns(step_rewards: Sequence[float] = (0.0, 1.0), **named: object) -> Episode:
    """Prompt 1, sampled 2 3, observed 9, sampled 5."""
    made = episode(call([1], [2, 3]), call([1, 2, 3, 9], [5]), **named)  # type: ignore[arg-type]
    turns = [dataclasses.replace(turn, reward=reward(r)) for turn, r in zip(made.turns, step_rewards, strict=True)]
    return dataclasses.replace(made, turns=tuple(turns))


def experience(episodes: Sequence[Episode], view: RowView = RowView.MERGED, overlong: OverlongConfig | None = None):  # type: ignore[no-untyped-def]
    return Experience.of(episodes, build_rows(episodes, view).rows, overlong)


def valued(episodes: Sequence[Episode], view: RowView, values: Sequence[float]) -> Experience:
    """The first episode's tokens have these values, in the order they were sampled; all others 0."""
    made = experience(episodes, view)
    streams = made.streams()
    made.tokens[0].scatter(numpy.array(values), streams)
    return dataclasses.replace(made, values=tuple(streams))


def credited(made: Experience, config: AdvantageConfig) -> Credit:
    return assign(made, config, random.Random(0))


def by_token(made: Experience, streams: Sequence[numpy.ndarray], index: int = 0) -> list[float]:
    return made.tokens[index].gather(streams).tolist()


def test_tokens_stand_in_the_order_they_were_sampled_whatever_rows_they_lie_in() -> None:
    for view in (RowView.MERGED, RowView.TRANSITION):
        made = experience([two_turns()], view)
        assert made.tokens[0].turns.tolist() == [0, 0, 1]
        ids = [row.ids for row in made.rows]
        assert by_token(made, ids) == [2, 3, 5]


def test_a_turns_reward_arrives_with_its_last_token() -> None:
    made = experience([two_turns((0.25, 1.0))])
    assert made.token_rewards(0).tolist() == [0.0, 0.25, 1.0]
    assert made.turn_rewards(0) == (0.25, 1.0)


def test_the_price_of_divergence_falls_on_the_token_and_on_its_turn() -> None:
    made = experience([two_turns((0.0, 1.0))])
    penalties = made.streams()
    made.tokens[0].scatter(numpy.array([0.1, 0.2, 0.4]), penalties)
    made = dataclasses.replace(made, penalties=tuple(penalties))
    assert made.token_rewards(0) == pytest.approx([-0.1, -0.2, 0.6])
    assert made.turn_rewards(0) == pytest.approx((-0.3, 0.6))


def test_a_long_episode_pays_at_its_end() -> None:
    # Three sampled tokens, of at most four with a cushion of two: one over, half of the way to −1.
    made = experience([two_turns((0.0, 1.0))], overlong=OverlongConfig(maximum=4, cushion=2))
    assert made.rewards[0] == (0.0, 0.5)


def test_an_outcome_is_every_tokens_advantage() -> None:
    made = experience([two_turns((0.0, 1.0), id="a"), two_turns((0.0, 0.0), id="b", sibling=1)])
    found = credited(made, Grpo(divide_by_std=False))
    assert by_token(made, found.advantages, 0) == [0.5, 0.5, 0.5]
    assert by_token(made, found.advantages, 1) == [-0.5, -0.5, -0.5]


def test_under_process_supervision_a_turn_is_credited_with_what_comes_from_it_on() -> None:
    # Step rewards 1, 0 and 0, 0: mean 1/4, deviation 1/2; normalised 1.5, −0.5 and −0.5, −0.5.
    made = experience([two_turns((1.0, 0.0), id="a"), two_turns((0.0, 0.0), id="b", sibling=1)])
    found = credited(made, ProcessSupervision(epsilon=0.0))
    assert by_token(made, found.advantages, 0) == pytest.approx([1.0, 1.0, -0.5])
    found = credited(made, ProcessSupervision(epsilon=0.0, discount=0.5))
    assert by_token(made, found.advantages, 0) == pytest.approx([1.25, 1.25, -0.5])


def test_gigpo_compares_steps_that_were_taken_in_the_same_state() -> None:
    # Returns 1 and 0: A^E = ±0.5. Both states are shared; returns-to-go with discount 0.5 are 0.5, 1 and 0, 0, so
    # A^S = ±0.25 in the first state and ±0.5 in the second.
    made = experience([two_turns((0.0, 1.0), id="a"), two_turns((0.0, 0.0), id="b", sibling=1)])
    found = credited(made, Gigpo(divide_by_std=False, discount=0.5))
    assert by_token(made, found.advantages, 0) == pytest.approx([0.75, 0.75, 1.0])
    assert by_token(made, found.advantages, 1) == pytest.approx([-0.75, -0.75, -1.0])
    assert found.anchors == 2


def test_reinforce_plus_plus_whitens_returns_to_go_over_the_batch() -> None:
    # Returns to go with discount 0.5: 0.25, 0.5, 1 and 0, 0, 0. Mean 7/24, unbiased deviation 0.4005...
    made = experience([two_turns((0.0, 1.0), id="a"), two_turns((0.0, 0.0), id="b", sibling=1)])
    found = credited(made, ReinforcePlusPlus(discount=0.5))
    values = numpy.array([0.25, 0.5, 1.0, 0.0, 0.0, 0.0])
    deviation = ((values - 7 / 24) ** 2).sum() / 5
    expected = (values - 7 / 24) / deviation**0.5
    assert by_token(made, found.advantages, 0) == pytest.approx(expected[:3].tolist(), abs=1e-6)


@pytest.mark.parametrize("view", [RowView.MERGED, RowView.TRANSITION])
def test_gae_runs_over_an_episodes_sampled_tokens_in_whatever_rows_they_lie(view: RowView) -> None:
    # λ = 1, γ = 1: A = what came − V; what came is 1 everywhere.
    made = valued([two_turns()], view, [0.1, 0.2, 0.7])
    found = credited(made, TokenGae(**GAE))
    assert by_token(made, found.advantages) == pytest.approx([0.9, 0.8, 0.3])
    assert found.returns is not None
    assert by_token(made, found.returns) == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("view", [RowView.MERGED, RowView.TRANSITION])
def test_by_turn_the_value_is_the_one_at_the_turns_first_token(view: RowView) -> None:
    # Turns: r 0, V 0.1; r 1, V 0.7. λ = 0: A = 0 + 0.7 − 0.1 and 1 − 0.7.
    made = valued([two_turns()], view, [0.1, 99.0, 0.7])
    found = credited(made, TurnGae(whiten=False, trace=0.0))
    assert by_token(made, found.advantages) == pytest.approx([0.6, 0.6, 0.3])


def test_the_trace_may_depend_on_the_length() -> None:
    # Three tokens, α = 2/3: λ = 1 − 1/2 = 1/2. Errors 0.1, 0.5, 0.3: A = 0.1 + (0.5 + 0.3/2)/2, 0.5 + 0.3/2, 0.3.
    made = valued([two_turns()], RowView.MERGED, [0.1, 0.2, 0.7])
    found = credited(made, TokenGae(whiten=False, length_adaptive=2 / 3))
    assert by_token(made, found.advantages) == pytest.approx([0.425, 0.65, 0.3])


@pytest.mark.parametrize(("bootstrap", "expected"), [(True, [0.6, 0.5, 0.0]), (False, [-0.1, -0.2, -0.7])])
def test_a_truncated_episode_is_credited_with_what_the_critic_expects_unless_the_limit_is_part_of_the_task(
    bootstrap: bool, expected: list[float]
) -> None:
    cut = two_turns((0.0, 0.0), status=Status.TRUNCATED)
    made = valued([cut], RowView.MERGED, [0.1, 0.2, 0.7])
    found = credited(made, TokenGae(**GAE, bootstrap_truncated=bootstrap))
    assert by_token(made, found.advantages) == pytest.approx(expected)


def test_imitation_keeps_successes_and_nothing_else() -> None:
    episodes = [
        two_turns((0.0, value), id=name, sibling=n)
        for n, (name, value) in enumerate(zip("abc", (1, 0, 1), strict=True))
    ]
    made = experience(episodes)
    found = credited(made, Imitation())
    assert [by_token(made, found.advantages, index)[0] for index in range(3)] == [1.0, 0.0, 1.0]
    found = credited(made, Imitation(keep=Keep.ONE))
    assert sum(by_token(made, found.advantages, index)[0] for index in range(3)) == 1.0


@pytest.mark.parametrize("config", [Grpo(), ProcessSupervision(), Gigpo(), ReinforcePlusPlus()])
def test_the_order_of_the_episodes_does_not_matter(config: AdvantageConfig) -> None:
    rng = random.Random(3)
    episodes = [two_turns((rng.random(), rng.random()), id=str(n), group="gh"[n % 2], sibling=n // 2) for n in range(8)]
    shuffled = rng.sample(episodes, len(episodes))
    found = []
    for order in (episodes, shuffled):
        made = experience(order)
        advantages = credited(made, config).advantages
        found.append({one.id: by_token(made, advantages, index) for index, one in enumerate(made.episodes)})
    for name, values in found[0].items():
        assert found[1][name] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("config", [Grpo(), ProcessSupervision(), Gigpo(), ReinforcePlusPlus(), Imitation()])
def test_an_update_without_a_scored_episode_credits_nobody(config: AdvantageConfig) -> None:
    made = experience([two_turns(id="a", status=Status.MODEL_ERROR)])
    assert credited(made, config).advantages == ()
