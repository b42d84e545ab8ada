"""The stage: the environment's code is timed and blamed, and cannot hold up the auditor."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from agentenv.check.stage import Hold, Stage, StalledError


async def test_results_and_exceptions_come_back_from_the_stage() -> None:
    stage = Stage()

    async def answer() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise KeyError("x")

    assert await stage.run(answer, stall_seconds=5, seconds=5) == "agentenv-check-stage"
    with pytest.raises(KeyError):
        await stage.run(fail, stall_seconds=5, seconds=5)
    await stage.stop()


async def test_a_hold_is_measured_with_the_line_that_caused_it_and_a_wait_is_none() -> None:
    stage = Stage(frozenset({__file__}))

    async def hold() -> None:
        time.sleep(0.06)  # noqa: ASYNC251

    async def wait() -> None:
        await asyncio.sleep(0.06)

    async def measure(program: object) -> Hold:
        stage.take_longest()
        await asyncio.create_task(program())  # type: ignore[operator]
        return stage.take_longest()

    held = await stage.run(lambda: measure(hold), stall_seconds=5, seconds=5)
    assert held.seconds >= 0.06
    assert held.where.startswith("test_stage.py:")
    assert held.where.endswith(" in hold")
    waited = await stage.run(lambda: measure(wait), stall_seconds=5, seconds=5)
    assert "in hold" not in waited.where
    await stage.stop()


async def test_a_stage_that_never_comes_back_is_abandoned_and_the_line_named() -> None:
    stage = Stage(frozenset({__file__}))
    release = threading.Event()

    async def drive() -> None:
        await asyncio.create_task(stuck())

    async def stuck() -> None:
        release.wait(60)

    with pytest.raises(StalledError, match=r"test_stage\.py:\d+ in stuck"):
        await stage.run(drive, stall_seconds=0.2, seconds=30)
    assert stage.abandoned
    release.set()


async def test_cancelling_the_auditor_cancels_what_plays_on_the_stage() -> None:
    stage = Stage()
    playing, cancelled = threading.Event(), threading.Event()

    async def play() -> None:
        playing.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    auditor = asyncio.create_task(stage.run(play, stall_seconds=60, seconds=60))
    await asyncio.to_thread(playing.wait, 10)
    auditor.cancel()
    with pytest.raises(asyncio.CancelledError):
        await auditor
    assert await asyncio.to_thread(cancelled.wait, 10)
    await stage.stop()
