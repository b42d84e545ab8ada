"""Gymnasium environments as text: what is shown, how replies are read, and how episodes end."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import gymnasium
import numpy
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action
from agentenv.errors import ConfigError, RegistryError, UnsupportedError
from agentenv.messages import assistant
from agentenv.wrappers import Threaded
from agentenv_gym.actions import ActionText, InvalidActionError
from agentenv_gym.describe import blackjack, plain, taxi
from agentenv_gym.env import GymnasiumText
from agentenv_gym.oracles import blackjack_values, value_iteration
from tests.environments.playing import Played, continue_oracle, play, play_oracle

TO_THE_GOAL = ["down", "down", "right", "down", "right", "right"]
INTO_A_HOLE = ["right", "down"]


def lake(**options: Any) -> Threaded:
    return Threaded(
        GymnasiumText("FrozenLake-v1", ["left", "down", "right", "up"], **{"is_slippery": False, **options})
    )


async def test_reaching_the_goal_terminates_with_the_reward() -> None:
    played = await play(lake(), [f"action: {name}" for name in TO_THE_GOAL])
    assert played.total == 1.0
    assert [(step.terminated, step.truncated) for step in played.steps] == [(False, False)] * 5 + [(True, False)]


async def test_falling_into_a_hole_terminates_without_one() -> None:
    played = await play(lake(), INTO_A_HOLE)
    assert (played.total, played.last.terminated, played.last.truncated) == (0.0, True, False)


async def test_gymnasiums_time_limit_truncates_and_does_not_terminate() -> None:
    played = await play(lake(), ["left"] * 200)
    assert len(played.steps) == 100
    assert (played.last.terminated, played.last.truncated) == (False, True)


async def test_the_turn_limit_counts_replies_that_are_no_action() -> None:
    played = await play(agentenv.make("gym/frozen_lake-v0"), [""] * 300)
    assert len(played.steps) == 200
    assert (played.last.terminated, played.last.truncated) == (False, True)
    assert played.last.info["metrics"] == {"steps": 0, "invalid_actions": 200}


async def test_the_opening_explains_rules_actions_and_state() -> None:
    observation, _ = await agentenv.make("gym/frozen_lake-v0").reset(seed=0)
    text = observation.messages[0].text
    assert text.startswith("Cross the frozen lake")
    assert "0 = left, 1 = down, 2 = right, 3 = up" in text
    assert 'Reply in the form "action: NAME"' in text
    assert "[S]FFF\nFHFH\nFFFH\nHFFG" in text


async def test_a_reply_that_is_no_action_is_told_so_and_changes_nothing() -> None:
    env = lake()
    await env.reset(seed=0)
    before = env.state_key()
    result = await env.step(Action(assistant("I would rather not.")))
    assert "names no action" in result.observation.messages[0].text
    assert (result.reward, result.terminated, result.truncated) == (0.0, False, False)
    assert env.state_key() == before
    assert (await env.step(Action(assistant("down")))).info["metrics"] == {"steps": 1, "invalid_actions": 1}


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.Box(0.0, 1.0), spaces.MultiBinary(2)], ids=str)
@pytest.mark.parametrize("names", [(), ("a", "b", "c")])
def test_repeating_the_explanation_is_no_action(space: spaces.Space[Any], names: tuple[str, ...]) -> None:
    text = ActionText(space, names)
    with pytest.raises(InvalidActionError):
        text.read(text.legend)


@pytest.mark.parametrize("id", ["gym/frozen_lake-v0", "gym/taxi-v0", "gym/cliff_walking-v0", "gym/blackjack-v0"])
async def test_silence_earns_no_more_than_the_oracle(id: str) -> None:
    env = agentenv.make(id)
    oracle = statistics.mean([(await play_oracle(env, seed=seed)).total for seed in range(10)])
    silence = (await play(env, [""] * 300)).total
    assert silence <= oracle
    assert silence == 0.0 if id == "gym/frozen_lake-v0" else silence < -20
    low, high = env.spec.reward_range if env.spec else (0, 0)
    assert low <= silence <= oracle <= high


async def test_the_oracle_crosses_solid_ice_every_time() -> None:
    env = agentenv.make("gym/frozen_lake-v0", is_slippery=False)
    assert [(await play_oracle(env, seed=seed)).total for seed in range(20)] == [1.0] * 20


async def test_the_oracle_crosses_slippery_ice_as_often_as_the_best_policy_can() -> None:
    env = agentenv.make("gym/frozen_lake-v0")
    won = sum([(await play_oracle(env, seed=seed)).total for seed in range(100)])
    assert 60 <= won <= 90  # 0.74 within the hundred steps of its time limit; these seeds are fixed


async def test_the_taxi_oracle_takes_no_detour() -> None:
    """Its return is the value of the starting state: each step costs 1, the last one earns 20."""
    env = agentenv.make("gym/taxi-v0")
    for seed in range(20):
        played = await play_oracle(env, seed=seed)
        assert played.total == 21 - len(played.steps)
        assert played.last.terminated
        assert played.total >= 3.0  # the worst start of Taxi is 18 steps from its end


async def test_the_cliff_oracle_walks_along_the_edge() -> None:
    assert (await play_oracle(agentenv.make("gym/cliff_walking-v0"))).total == -13.0


def test_value_iteration_solves_a_corridor_worked_by_hand() -> None:
    """Three cells, goal at the right end worth 1 and the end; a step costs nothing: v = 0.9999 ** steps left."""
    table = {
        0: {0: [(1.0, 0, 0.0, False)], 1: [(1.0, 1, 0.0, False)]},
        1: {0: [(1.0, 0, 0.0, False)], 1: [(0.5, 1, 0.0, False), (0.5, 2, 1.0, True)]},
        2: {0: [(1.0, 2, 0.0, True)], 1: [(1.0, 2, 0.0, True)]},
    }
    quality = value_iteration(table)
    assert quality.argmax(axis=1)[:2].tolist() == [1, 1]
    assert quality[1, 1] == pytest.approx(0.5 / (1 - 0.5 * 0.9999))
    assert quality[0, 1] == pytest.approx(0.9999 * quality[1, 1])


def test_blackjack_is_played_by_the_known_strategy() -> None:
    """Sutton & Barto, 2nd edition, figure 5.2, for the hands everybody agrees on."""

    def hits(total: int, ace: bool, dealer: int) -> bool:
        stick, hit = blackjack_values(total, ace, dealer)
        return hit > stick

    assert all(hits(total, False, dealer) for total in range(4, 12) for dealer in range(1, 11))
    assert not any(hits(total, False, dealer) for total in range(17, 22) for dealer in range(1, 11))
    assert [dealer for dealer in range(1, 11) if not hits(12, False, dealer)] == [4, 5, 6]
    assert [dealer for dealer in range(1, 11) if not hits(16, False, dealer)] == [2, 3, 4, 5, 6]
    assert [dealer for dealer in range(2, 11) if hits(18, True, dealer)] == [9, 10]
    assert all(hits(17, True, dealer) for dealer in range(1, 11))


def test_the_best_blackjack_return_is_a_small_loss() -> None:
    """The dealer's edge without naturals, doubling and splitting: the mean over the 13 × 13 × 13 first cards."""
    cards = [min(card, 10) for card in range(1, 14)]
    values = []
    for first in cards:
        for second in cards:
            ace = 1 in (first, second)
            total = first + second + 10 * ace
            values += [max(blackjack_values(total, ace, dealer)) for dealer in cards]
    assert statistics.mean(values) == pytest.approx(-0.0466, abs=0.003)


@pytest.mark.parametrize("id", ["gym/frozen_lake-v0", "gym/taxi-v0", "gym/cliff_walking-v0", "gym/blackjack-v0"])
async def test_the_same_task_and_seed_give_the_same_episode_alone_and_interleaved(id: str) -> None:
    env, other, third = agentenv.make(id), agentenv.make(id), agentenv.make(id)
    task = env.tasks().task(3)
    alone = await play_oracle(env, task, seed=9)
    together = await asyncio.gather(*(play_oracle(one, task, seed=9) for one in (env, other, third)))
    assert all(_visible(played) == _visible(alone) for played in together)


async def test_siblings_start_alike_and_fare_differently() -> None:
    env = agentenv.make("gym/blackjack-v0")
    task = env.tasks().task(0)
    played = [await play(env, ["hit"] * 25, task, seed=seed) for seed in range(12)]
    assert len({one.opening[0].text for one in played}) == 1
    assert len({one.steps[0].observation.messages[0].text for one in played}) > 3


async def test_tasks_start_differently_and_splits_share_no_seed() -> None:
    env = agentenv.make("gym/taxi-v0")
    starts = [(await env.reset(task=task, seed=0))[0].messages[0].text for task in env.tasks().head(12)]
    assert len(set(starts)) > 6
    seeds = [{task.data["seed"] for task in env.tasks(split).head(50)} for split in ("train", "dev", "test")]
    assert len(set.union(*seeds)) == 150
    with pytest.raises(ConfigError, match="splits are train, dev, test"):
        env.tasks("validation")


@pytest.mark.parametrize("id", ["gym/frozen_lake-v0", "gym/taxi-v0", "gym/blackjack-v0"])
@pytest.mark.parametrize("branch_at", [0, 1])
async def test_an_episode_branched_at_a_step_goes_on_the_same(id: str, branch_at: int) -> None:
    env, branch = (Threaded(agentenv.make(id).unwrapped) for _ in range(2))  # type: ignore[attr-defined]
    for task in env.tasks():
        if len((await play_oracle(env, task, seed=5)).steps) > 1:
            break
    await env.reset(task=task, seed=5)
    for _ in range(branch_at):
        await env.step(Action(env.oracle()))
    snapshot = env.snapshot()
    first = await continue_oracle(env)
    for player in (branch, env):
        player.restore(snapshot)
        assert [step[:4] for step in await continue_oracle(player)] == [step[:4] for step in first]


async def test_an_environment_that_cannot_be_copied_says_so() -> None:
    env = GymnasiumText("CartPole-v1")
    env.reset(seed=0)
    env._env.unwrapped.handle = (line for line in [])  # type: ignore[attr-defined]  # generators cannot be copied
    with pytest.raises(UnsupportedError, match="CartPole-v1 cannot be snapshotted"):
        env.snapshot()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"])
async def test_any_registered_environment_plays(env_id: str) -> None:
    env = agentenv.make("gym/any-v0", env_id=env_id)
    reply = "action: [0.5]" if env_id == "Pendulum-v1" else "action: 1"
    played = await play(env, [reply] * 10, seed=1)
    plain_env = gymnasium.make(env_id)
    plain_env.reset(seed=env.task.data["seed"])
    assert played.last.info["metrics"]["steps"] == len(played.steps)
    expected = plain_env.step(numpy.array([0.5], numpy.float32) if env_id == "Pendulum-v1" else 1)
    assert played.steps[0].reward == pytest.approx(float(expected[1]))
    assert "Observation: [" in played.steps[0].observation.messages[0].text


async def test_there_is_an_oracle_only_where_one_is_known() -> None:
    env = agentenv.make("gym/any-v0", env_id="CartPole-v1")
    await env.reset(seed=0)
    with pytest.raises(UnsupportedError, match="CartPole-v1"):
        env.oracle()


def test_unknown_ids_and_missing_arguments_are_named() -> None:
    with pytest.raises(RegistryError, match="Frozenlake"):
        agentenv.make("gym/any-v0", env_id="Frozenlake-v1")
    with pytest.raises(RegistryError, match="env_id"):
        agentenv.make("gym/any-v0")
    with pytest.raises(ConfigError, match="2 action names for 4 actions"):
        agentenv.make("gym/any-v0", env_id="FrozenLake-v1", actions=["left", "right"])


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("action: left", 0),
        ("Action: DOWN", 1),
        ("2", 2),
        ("  up. ", 3),
        ("action = right", 2),
        ("I could go left, but no.\naction: up", 3),
        ("action: left\naction: down", 1),
        ("**action: up**", 3),
    ],
)
def test_a_discrete_action_is_read_by_name_or_number(reply: str, action: int) -> None:
    assert ActionText(spaces.Discrete(4), ["left", "down", "right", "up"]).read(reply) == action


@pytest.mark.parametrize(
    "reply", ["", "4", "-1", "1.0", "left or right", "action:", "action: west", "01", "²", "left up", "x" * 100_000]
)
def test_what_is_no_discrete_action_is_refused(reply: str) -> None:
    with pytest.raises(InvalidActionError, match="names no action"):
        ActionText(spaces.Discrete(4), ["left", "down", "right", "up"]).read(reply)


SPACES = [
    spaces.Discrete(5),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([3, 4]),
    spaces.MultiBinary(3),
    spaces.Box(-1.0, 1.0, (2, 2)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_every_action_survives_a_round_trip_through_text(space: spaces.Space[Any], seed: int) -> None:
    space.seed(seed)
    action = space.sample()
    text = ActionText(space)
    assert numpy.array_equal(text.read(f"action: {text.write(action)}"), action)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("reply", ["", "[", "{}", "[9, 9]", "null", '"a"', "[1e999, 0]", "[[0.5]]", "NaN", "[" * 5000])
def test_what_is_no_action_of_a_space_is_refused(space: spaces.Space[Any], reply: str) -> None:
    with pytest.raises(InvalidActionError):
        ActionText(space).read(reply)


def test_a_space_that_has_no_text_form_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"these kinds can: Discrete, MultiDiscrete, MultiBinary, Box"):
        ActionText(spaces.Dict({"a": spaces.Discrete(2)}))


def test_states_are_put_into_words() -> None:
    encoded = ((3 * 5 + 1) * 5 + 4) * 4 + 2  # row 3, column 1, passenger in the taxi, destination yellow
    assert taxi(encoded) == (
        "The taxi is at row 3, column 1. The passenger is in the taxi. The destination is Yellow (row 4, column 0)."
    )
    assert blackjack((15, 1, 0)) == "Your hand is worth 15. The dealer shows an ace."
    assert blackjack((18, 9, 1)) == "Your hand is worth 18 with an ace counted as 11. The dealer shows 9."
    assert plain("\x1b[41mS\x1b[0mF\n\x1b[43m \x1b[0m") == "[S]F\n[ ]"


def _visible(played: Played) -> object:
    return [message.text for message in played.opening], [step[:4] for step in played.steps]
