from __future__ import annotations

import pytest

from agentenv.episode import Episode
from agentenv.errors import ConfigError
from agentenv.evaluate.runner import draw_tasks
from agentenv.registry import spec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv_calculator.careless import CarelessPolicy

CALCULATOR = spec("calculator-v0").with_kwargs(operand_max=20)


async def play(policy: CarelessPolicy, count: int = 200) -> list[Episode]:
    tasks = await draw_tasks(CALCULATOR, split="train", count=count, seed=0)
    async with policy, RolloutEngine(policy) as engine:
        return await engine.collect(group_requests(CALCULATOR, tasks))


async def test_it_speaks_the_protocol_and_answers_with_its_last_result() -> None:
    for episode in await play(CarelessPolicy(wrong_operator=0.7)):
        assert episode.stop_reason == "terminated"
        assert episode.metrics["tool_errors"] == 0
        assert episode.metrics["tool_calls"] == episode.task.data["level"]
        last_result = episode.turns[-1].observation.messages[-1].text
        assert episode.turns[-1].action.message.text == last_result


async def test_without_carelessness_it_is_the_oracle() -> None:
    assert all(episode.reward == 1.0 for episode in await play(CarelessPolicy(wrong_operator=0.0)))


async def test_how_often_it_succeeds_follows_from_how_often_it_slips() -> None:
    """One operation is right with probability 0.3, two with 0.09: between the levels half and half, 0.195.

    400 episodes have a standard error of 0.02; the bounds are four of them away.
    """
    episodes = await play(CarelessPolicy(wrong_operator=0.7), count=400)
    assert 0.115 < sum(episode.reward or 0.0 for episode in episodes) / len(episodes) < 0.275


def test_a_probability_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="probability"):
        CarelessPolicy(wrong_operator=1.5)


async def test_it_demonstrates_no_other_environment() -> None:
    other = spec("math/arithmetic-v0")
    async with RolloutEngine(CarelessPolicy()) as engine:
        (episode,) = await engine.collect(group_requests(other, other.make().tasks("train").head(1)))
    assert episode.reward is None
    assert episode.failure is not None
    assert "calculator environment and no other" in episode.failure.message
