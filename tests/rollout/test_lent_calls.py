"""A call in a task that is lent to it: to the call it is as if the task were its own, and one that need not wait is
over at once."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar

import pytest

from agentenv.clock import CLOCK
from agentenv.outcome import StopReason
from agentenv.rollout.budget import Budget, OutOfTime
from agentenv.rollout.lag import Stall
from agentenv.rollout.lent import LentCall
from agentenv.rollout.limits import Limits

Function = Callable[[], Awaitable[object]]
Play = Callable[[Limits, Function, float], Awaitable[object]]

WORD: ContextVar[str] = ContextVar("word", default="nothing")


@pytest.fixture
async def limits() -> Limits:
    return Limits(stall_threshold=60.0, cancel_grace=0.05)


@pytest.fixture(autouse=True)
async def clock(limits: Limits) -> Iterator[None]:
    with limits.clock:
        yield


def budget_of(limits: Limits) -> Budget:
    return Budget(limits.clock, math.inf)


async def own(limits: Limits, function: Function, seconds: float = 30.0) -> object:
    """Plays in a task of its own."""
    return await limits.call(function, "step", seconds, budget_of(limits))


async def lent(limits: Limits, function: Function, seconds: float = 30.0) -> object:
    """Plays in a task that is lent."""
    begun: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def lender() -> object:
        try:
            answer = limits.attempt(function, "step", seconds, budget_of(limits))
        except Exception as error:
            begun.set_exception(error)
            return None
        begun.set_result(answer)
        return await answer.rest() if isinstance(answer, LentCall) else None

    task = asyncio.create_task(lender())
    answer = await begun
    try:
        return await limits.finish(answer) if isinstance(answer, LentCall) else answer
    finally:
        await asyncio.wait([task])


BOTH = pytest.mark.parametrize("play", [own, lent])
AT_ONCE_OR_LATER = pytest.mark.parametrize("waits", [False, True])


async def wait(waits: bool) -> None:
    if waits:
        await asyncio.sleep(0)


@BOTH
@AT_ONCE_OR_LATER
async def test_it_returns_what_the_function_returns(limits: Limits, play: Play, waits: bool) -> None:
    async def step() -> str:
        await wait(waits)
        return "done"

    assert await play(limits, step, 30.0) == "done"


@BOTH
@AT_ONCE_OR_LATER
@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (KeyError("no"), KeyError),
        (SystemExit(3), RuntimeError),
        (asyncio.CancelledError(), RuntimeError),
    ],
)
async def test_it_raises_what_the_function_raises_and_what_would_end_others_as_something_ordinary(
    limits: Limits, play: Play, waits: bool, raised: BaseException, error: type[Exception]
) -> None:
    async def step() -> None:
        await wait(waits)
        raise raised

    with pytest.raises(error):
        await play(limits, step, 30.0)


@BOTH
@AT_ONCE_OR_LATER
@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_cancels_its_task_harms_only_itself(
    limits: Limits, play: Play, waits: bool, fails: bool
) -> None:
    async def step() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await wait(waits)
        if fails:
            raise KeyError

    with pytest.raises((RuntimeError, KeyError)):
        await play(limits, step, 30.0)


@BOTH
async def test_a_call_that_waits_too_long_is_cut_off(limits: Limits, play: Play) -> None:
    stopped = []

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    with pytest.raises(OutOfTime) as caught:
        await play(limits, step, 0.01)
    assert caught.value.reason is StopReason.CALL_TIMEOUT
    assert stopped == [True]


@BOTH
@AT_ONCE_OR_LATER
async def test_a_call_that_blocks_for_too_long_is_late_though_it_has_an_answer(
    limits: Limits, play: Play, waits: bool
) -> None:
    async def step() -> str:
        await wait(waits)
        time.sleep(0.02)  # noqa: ASYNC251 - the fault under test
        return "done"

    with pytest.raises(OutOfTime, match=r"step gave no answer in 0\.01 s"):
        await play(limits, step, 0.01)


@BOTH
async def test_a_call_that_ignores_its_cancellation_is_abandoned(limits: Limits, play: Play) -> None:
    async def step() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    with pytest.raises(OutOfTime):
        await play(limits, step, 0.01)
    assert limits.abandoned == ["step"]


@BOTH
async def test_a_timeout_of_the_calls_own_that_began_before_its_first_wait_ends_its_own_block(
    limits: Limits, play: Play
) -> None:
    async def step() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "mine"
        return "nobody's"

    assert await play(limits, step, 30.0) == "mine"


@BOTH
async def test_it_stays_in_one_task_and_one_context_which_are_not_the_callers(limits: Limits, play: Play) -> None:
    async def step() -> tuple[bool, str, bool]:
        WORD.set("something")
        before, clock = asyncio.current_task(), CLOCK.get()
        await asyncio.sleep(0)
        same_clock = isinstance(clock, Budget) and CLOCK.get() is clock
        return asyncio.current_task() is before, WORD.get(), same_clock

    assert await play(limits, step, 30.0) == (True, "something", True)
    assert (WORD.get(), CLOCK.get()) == ("nothing", None)


async def test_a_call_that_need_not_wait_is_over_at_once_and_leaves_its_caller_as_it_was(limits: Limits) -> None:
    async def step() -> str:
        WORD.set("something")
        return "done"

    tasks = asyncio.all_tasks()
    assert limits.attempt(step, "step", 30.0, budget_of(limits)) == "done"
    assert asyncio.all_tasks() == tasks
    assert (WORD.get(), CLOCK.get(), limits.clock.at_work) == ("nothing", None, None)


@AT_ONCE_OR_LATER
async def test_it_leaves_nothing_to_the_garbage_collector(limits: Limits, waits: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await lent(limits, lambda: wait(waits))
        assert gc.collect() < 20
    finally:
        gc.enable()


async def test_the_call_that_has_the_loop_is_known_though_its_task_is_somebody_elses(limits: Limits) -> None:
    def at_work() -> str | None:
        return limits.clock.at_work and limits.clock.at_work.where

    async def step() -> list[str | None]:
        seen = [at_work()]
        await asyncio.sleep(0)
        return [*seen, at_work()]

    assert await lent(limits, step) == ["step", "step"]
    assert limits.clock.at_work is None


async def test_a_lent_call_that_blocks_the_loop_is_named_and_charged() -> None:
    limits, stalls = Limits(stall_threshold=0.1, cancel_grace=0.05), list[Stall]()

    async def step() -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - the fault under test

    with limits.clock:
        limits.clock.on_stall = stalls.append
        budget = budget_of(limits)
        limits.attempt(step, "step", 30.0, budget)
        limits.clock.now()
    assert [stall.where for stall in stalls] == ["step"]
    assert budget.stalls == stalls


async def test_lent_calls_that_together_block_the_loop_are_told_apart_and_none_is_charged() -> None:
    limits, stalls = Limits(stall_threshold=0.6, cancel_grace=0.05), list[Stall]()

    async def step() -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - no fault by itself

    with limits.clock:
        limits.clock.on_stall = stalls.append
        while not stalls:
            limits.attempt(step, "step", 30.0, budget_of(limits))
    assert [stall.where for stall in stalls] == [None]


async def test_a_budget_that_is_spent_begins_nothing(limits: Limits) -> None:
    async def step() -> None:
        raise AssertionError("it was begun")

    with pytest.raises(OutOfTime) as caught:
        limits.attempt(step, "step", 30.0, Budget(limits.clock, 0.0))
    assert caught.value.reason is StopReason.EPISODE_TIMEOUT
