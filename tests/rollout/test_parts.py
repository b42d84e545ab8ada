"""Work in parts: each has its own deadline, and leaves the task they share to the next as it found it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

import pytest

from agentenv.outcome import StopReason
from agentenv.rollout.budget import Budget, OutOfTime
from agentenv.rollout.calls import Call
from agentenv.rollout.limits import Limits


@pytest.fixture
async def limits() -> Limits:
    return Limits(stall_threshold=60.0, cancel_grace=0.05)


@pytest.fixture(autouse=True)
async def budget(limits: Limits) -> Iterator[Budget]:
    with limits.clock:
        yield Budget(limits.clock, math.inf)


async def at_once() -> None:
    pass


async def never() -> None:
    await asyncio.Event().wait()


async def test_the_parts_of_one_work_run_in_one_task(limits: Limits, budget: Budget) -> None:
    async def task() -> asyncio.Task[object] | None:
        return asyncio.current_task()

    async def work(call: Call[bool]) -> bool:
        return await call.part(task, "first", 30.0) is await call.part(task, "second", 30.0) is call.task

    assert await limits.supervise(work, "work", budget)


async def test_a_deadline_is_that_of_its_own_part(limits: Limits, budget: Budget) -> None:
    async def outlives_the_first() -> str:
        await asyncio.sleep(0.1)
        return "done"

    async def work(call: Call[str]) -> str:
        await call.part(at_once, "first", 0.05)
        return await call.part(outlives_the_first, "second", 30.0)

    assert await limits.supervise(work, "work", budget) == "done"


async def test_a_part_that_is_given_less_than_the_one_before_is_cut_off_in_time(limits: Limits, budget: Budget) -> None:
    async def work(call: Call[None]) -> None:
        await call.part(at_once, "first", 30.0)
        await call.part(never, "second", 0.01)

    with pytest.raises(OutOfTime, match=r"second gave no answer in 0\.01 s") as caught:
        await limits.supervise(work, "work", budget)
    assert caught.value.reason is StopReason.CALL_TIMEOUT


async def test_what_is_left_of_the_budget_cuts_a_part_off_or_begins_none(limits: Limits) -> None:
    budget, ends = Budget(limits.clock, 0.01), list[OutOfTime]()

    async def work(call: Call[None]) -> None:
        for where in ("first", "second"):
            with pytest.raises(OutOfTime) as caught:
                await call.part(never, where, 30.0)
            ends.append(caught.value)

    await limits.supervise(work, "work", budget)
    assert {end.reason for end in ends} == {StopReason.EPISODE_TIMEOUT}
    assert [str(end) for end in ends] == [
        "first was cut off: the episode's 0.01 s were spent",
        "second was not begun: the episode's 0.01 s were spent",
    ]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_part_that_cancels_its_task_does_no_harm_to_the_next(
    limits: Limits, budget: Budget, fails: bool
) -> None:
    async def cancels() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if fails:
            raise KeyError

    async def work(call: Call[int]) -> int:
        with pytest.raises(RuntimeError, match="CancelledError"):
            await call.part(cancels, "first", 30.0)
        await call.part(lambda: asyncio.sleep(0), "second", 30.0)
        return call.task.cancelling()

    assert await limits.supervise(work, "work", budget) == 0


async def test_work_that_ignores_its_cancellation_is_abandoned_under_the_name_of_the_part(
    limits: Limits, budget: Budget
) -> None:
    async def ignores() -> None:
        while True:
            try:
                await never()
            except asyncio.CancelledError:
                continue

    async def work(call: Call[None]) -> None:
        await call.part(at_once, "first", 30.0)
        await call.part(ignores, "second", 0.01)

    with pytest.raises(OutOfTime, match="second"):
        await limits.supervise(work, "work", budget)
    assert limits.abandoned == ["second"]
