from __future__ import annotations

import asyncio
import threading

import pytest

from agentenv.threads import DaemonThreads


async def test_results_and_exceptions_come_back() -> None:
    pool = DaemonThreads()
    assert await pool.run(lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await pool.run(lambda: exit(1))
    assert await pool.run(lambda: "still alive") == "still alive"


async def test_no_more_threads_run_than_the_limit_and_all_work_is_done() -> None:
    pool = DaemonThreads(limit=3)
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(work) for _ in range(50)))
    assert 1 <= most <= 3


async def test_a_call_that_hangs_gives_its_place_back_when_it_is_given_up() -> None:
    pool = DaemonThreads(limit=1)
    started, release = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        release.wait(60)

    hanging = asyncio.create_task(pool.run(hang))
    await asyncio.to_thread(started.wait, 10)
    hanging.cancel()
    async with asyncio.timeout(10):
        assert await pool.run(lambda: "served") == "served"
    release.set()


async def test_a_call_cancelled_while_it_waits_never_runs() -> None:
    pool = DaemonThreads(limit=1)
    started, release, ran = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        release.wait(60)

    holding = asyncio.create_task(pool.run(hold))
    await asyncio.to_thread(started.wait, 10)
    waiting = asyncio.create_task(pool.run(ran.set))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    release.set()
    await holding
    assert await pool.run(lambda: "next") == "next"
    assert not ran.is_set()


async def test_a_call_that_was_given_up_is_waited_for_until_it_has_ended() -> None:
    pool, release, started = DaemonThreads(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait()

    assert pool.wait_until_idle(0)
    call = asyncio.create_task(pool.run(work))
    await started.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert not pool.wait_until_idle(0)
    release.set()
    assert pool.wait_until_idle(60)
