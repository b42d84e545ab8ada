"""The bubble: the share of time in which a policy had nothing to do, on a clock that a test turns."""

from __future__ import annotations

from collections.abc import Sequence

from agentenv import Message
from agentenv.rollout import Lap, ModelCalls, RolloutEngine
from tests.rollout.actors import HEALTHY, Scripted, Turns, requests


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_without_a_call_is_idle_and_overlapping_calls_count_once() -> None:
    clock = Clock()
    calls = ModelCalls(clock)
    clock.now += 2.0  # idle
    with calls.one():
        clock.now += 3.0
        with calls.one():
            assert calls.in_flight == 2
            clock.now += 4.0
        clock.now += 1.0
    clock.now += 6.0  # idle
    assert calls.lap() == Lap(seconds=16.0, idle_seconds=8.0)


def test_a_lap_begins_where_the_last_one_ended_even_in_the_middle_of_a_call() -> None:
    clock = Clock()
    calls = ModelCalls(clock)
    with calls.one():
        clock.now += 3.0
        assert calls.lap() == Lap(3.0, 0.0)
        clock.now += 1.0
    clock.now += 1.0
    lap = calls.lap()
    assert (lap.bubble, lap.busy_seconds) == (0.5, 1.0)
    assert calls.lap().bubble == 0.0, "no time has passed"


def test_a_call_that_fails_is_over() -> None:
    clock = Clock()
    calls = ModelCalls(clock)
    try:
        with calls.one():
            clock.now += 1.0
            raise ValueError("no answer")
    except ValueError:
        clock.now += 1.0
    assert (calls.in_flight, calls.lap()) == (0, Lap(2.0, 1.0))


async def test_an_engine_counts_the_calls_of_its_episodes() -> None:
    seen: list[int] = []

    def answer(messages: Sequence[Message]) -> str:
        seen.append(engine.stats.model_calls.in_flight)
        return "hello"

    async with RolloutEngine(Scripted(answer), make_env=lambda _: Turns()) as engine:
        await engine.collect(requests(HEALTHY, 2, turns=2))
    assert len(seen) == 4
    assert min(seen) >= 1
    assert engine.stats.model_calls.in_flight == 0
