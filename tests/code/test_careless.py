from __future__ import annotations

import pytest

from agentenv.episode import Episode
from agentenv.errors import ConfigError
from agentenv.evaluate.runner import draw_tasks
from agentenv.registry import spec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv_code.synthesis.careless import CarelessCoder

ONE_LINERS = spec("code/one_liners-v0")


async def play(policy: CarelessCoder, count: int) -> list[Episode]:
    tasks = await draw_tasks(ONE_LINERS, split="train", count=count, seed=0)
    async with policy, RolloutEngine(policy) as engine:
        return await engine.collect(group_requests(ONE_LINERS, tasks))


async def test_whatever_it_mixes_up_it_writes_functions_that_load_and_answer() -> None:
    for episode in await play(CarelessCoder(wrong_sign=1.0), count=50):
        assert episode.reward == 0.0
        assert episode.turns[-1].info["verdict"]["problem"] == "returned a wrong value"


async def test_without_carelessness_it_is_the_oracle() -> None:
    assert all(episode.reward == 1.0 for episode in await play(CarelessCoder(wrong_sign=0.0), count=50))


async def test_how_often_it_succeeds_follows_from_how_often_it_slips() -> None:
    """One sign is right with probability 0.3, two with 0.09: between the levels half and half, 0.195.

    200 episodes have a standard error of 0.028; the bounds are four of them away.
    """
    episodes = await play(CarelessCoder(wrong_sign=0.7), count=200)
    assert 0.083 < sum(episode.reward or 0.0 for episode in episodes) / len(episodes) < 0.307


@pytest.mark.parametrize("name", ["wrong_sign", "habitual"])
def test_a_probability_outside_zero_to_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is a probability"):
        CarelessCoder(**{name: 1.5})


async def test_it_demonstrates_no_other_environment() -> None:
    other = spec("math/arithmetic-v0")
    async with RolloutEngine(CarelessCoder()) as engine:
        (episode,) = await engine.collect(group_requests(other, other.make().tasks("train").head(1)))
    assert episode.reward is None
    assert episode.failure is not None
    assert "no other environment" in episode.failure.message
