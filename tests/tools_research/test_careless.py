"""The careless researcher: perfect in form, reproducible, and as careless as it is told to be."""

from __future__ import annotations

import dataclasses

import pytest

from agentenv.episode import Episode
from agentenv.errors import ConfigError
from agentenv.evaluate.runner import draw_tasks
from agentenv.policy.registry import make_policy as policy_named
from agentenv.registry import spec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv_tools.research import SPECS
from agentenv_tools.research.careless import Carelessness, CarelessResearcher, make_policy

SPEC = SPECS[0]
NO_SLIPS = Carelessness(prices=0.0, searches_again=0.0, reads_both=0.0, recalculates=0.0, guesses=0.0)


def careful(slip: str | None = None) -> CarelessResearcher:
    """One that makes no slip, or always this one."""
    return CarelessResearcher(NO_SLIPS if slip is None else dataclasses.replace(NO_SLIPS, **{slip: 1.0}))


async def play(policy: CarelessResearcher, count: int = 100) -> list[Episode]:
    tasks = await draw_tasks(SPEC, split="train", count=count, seed=0)
    async with policy, RolloutEngine(policy) as engine:
        episodes = await engine.collect(group_requests(SPEC, tasks))
    return sorted(episodes, key=lambda episode: episode.task.id)


def success(episodes: list[Episode]) -> float:
    return sum(episode.metrics["success"] for episode in episodes) / len(episodes)


async def test_without_carelessness_it_is_the_oracle() -> None:
    for episode in await play(careful()):
        assert episode.reward == pytest.approx(0.94)
        assert episode.metrics["tool_calls"] == 3


async def test_it_makes_no_call_that_fails_and_always_answers() -> None:
    for episode in await play(CarelessResearcher()):
        assert episode.stop_reason == "terminated"
        assert episode.metrics["tool_errors"] == 0


async def test_it_demonstrates_the_same_tasks_the_same_way_again() -> None:
    said = [
        [[turn.action.message for turn in episode.turns] for episode in await play(CarelessResearcher(), 30)]
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert {len(turns) for turns in said[0]} >= {4, 5, 6}


@pytest.mark.parametrize(
    ("slip", "calls"),
    [("searches_again", 4), ("reads_both", 4), ("recalculates", 4)],
)
async def test_a_needless_call_makes_a_success_dearer_by_two_hundredths(slip: str, calls: int) -> None:
    for episode in await play(careful(slip), 20):
        assert episode.metrics["tool_calls"] == calls
        assert episode.reward == pytest.approx(0.92)


async def test_whoever_takes_the_price_for_the_weight_fails_where_the_question_is_about_the_weight() -> None:
    for episode in await play(careful("prices"), 60):
        assert episode.metrics["success"] == (" weight " not in episode.task.question)


async def test_whoever_guesses_makes_two_calls_and_earns_nothing() -> None:
    for episode in await play(careful("guesses"), 20):
        assert episode.metrics["tool_calls"] == 2
        assert episode.metrics["success"] == 0


def test_it_is_found_by_its_name() -> None:
    assert policy_named("careless_researcher", prices=0.1).name == "careless_researcher"


def test_a_probability_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="prices is a probability"):
        make_policy(prices=1.5)


def test_an_unknown_slip_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no option 'sleepy'; there are prices, searches_again"):
        make_policy(sleepy=0.5)


async def test_it_demonstrates_no_other_environment() -> None:
    other = spec("math/arithmetic-v0")
    async with RolloutEngine(CarelessResearcher()) as engine:
        (episode,) = await engine.collect(group_requests(other, other.make().tasks("train").head(1)))
    assert episode.reward is None
    assert episode.failure is not None
    assert "tools/research-v0 and no other" in episode.failure.message
