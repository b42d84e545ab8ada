from __future__ import annotations

import asyncio

import pytest

from agentenv.clock import CLOCK, deadline, now
from agentenv.threads import THREADS

NEVER = 3600.0


class HandClock:
    """Time that stands still until a test moves it, and that tells when somebody has looked at it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.seconds = 100.0
        self.looked = asyncio.Event()

    def now(self) -> float:
        self.looked.set()
        return self.seconds


@pytest.fixture
async def clock() -> HandClock:
    return HandClock()


async def hang() -> None:
    await asyncio.sleep(NEVER)


async def test_without_a_clock_a_deadline_is_a_timeout() -> None:
    assert CLOCK.get() is None
    with pytest.raises(TimeoutError):
        async with deadline(0.01) as limit:
            await hang()
    assert limit.expired()


async def test_what_ends_in_time_ends_as_usual() -> None:
    async with deadline(NEVER) as limit:
        await asyncio.sleep(0)
    assert not limit.expired()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_waits_for_its_clock_however_long_the_loop_says_it_has_been(clock: HandClock) -> None:
    CLOCK.set(clock)

    async def wait_for_ever() -> None:
        for _ in range(3):  # the loop's own time is up again and again, the clock's is not
            clock.looked.clear()
            await clock.looked.wait()
        clock.seconds += 0.02
        await hang()

    with pytest.raises(TimeoutError):
        async with deadline(0.01) as limit:
            await wait_for_ever()
    assert limit.expired()


async def test_what_ends_while_the_clock_stands_still_has_not_expired(clock: HandClock) -> None:
    CLOCK.set(clock)
    async with deadline(0.01) as limit:
        for _ in range(3):
            clock.looked.clear()
            await clock.looked.wait()
    assert not limit.expired()


async def test_the_clock_of_another_loop_is_left_alone(clock: HandClock) -> None:
    CLOCK.set(clock)
    clock.looked.clear()

    async def on_a_loop_of_its_own() -> float:
        with pytest.raises(TimeoutError):
            async with deadline(0.01):
                await hang()
        return now()

    assert await THREADS.run(lambda: asyncio.run(on_a_loop_of_its_own())) != clock.seconds
    assert not clock.looked.is_set()


async def test_now_is_the_clocks_time_and_the_loops_without_one(clock: HandClock) -> None:
    before = asyncio.get_running_loop().time()
    assert before <= now() <= asyncio.get_running_loop().time()
    CLOCK.set(clock)
    assert now() == 100.0


@pytest.mark.parametrize(("inner", "outer"), [(0.01, NEVER), (NEVER, 0.01)], ids=["inner", "outer"])
async def test_of_two_nested_deadlines_the_one_that_is_up_says_so(inner: float, outer: float) -> None:
    with pytest.raises(TimeoutError):
        async with deadline(outer) as outside, deadline(inner) as inside:
            await hang()
    assert (inside.expired(), outside.expired()) == (inner < outer, outer < inner)


async def test_a_timeout_error_of_the_block_is_passed_on_and_is_not_ours() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        async with deadline(NEVER) as limit:
            raise TimeoutError("its own")
    assert not limit.expired()


async def test_somebody_elses_cancellation_stays_a_cancellation() -> None:
    limit = deadline(NEVER)
    entered = asyncio.Event()

    async def work() -> None:
        async with limit:
            entered.set()
            await hang()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not limit.expired()


async def test_a_cancellation_that_meets_the_deadline_wins() -> None:
    async def work() -> None:
        async with deadline(0):
            try:
                await hang()
            finally:
                task.cancel()  # from outside, while the deadline is unwinding the block

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
