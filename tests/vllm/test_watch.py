"""A dead or hung server becomes one error for everybody who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerDiedError, WeightUpdateError
from agentenv_vllm.watch import HealthWatch, watching
from tests.vllm.support import StubServer

FOREVER = 3600.0


@asynccontextmanager
async def watched(stub: StubServer, hang_seconds: float = 60.0) -> AsyncIterator[HealthWatch]:
    async with stub.running() as url, VLLMApi(url) as api:
        watch = HealthWatch(api, interval=0.01, hang_seconds=hang_seconds)
        async with watching(watch):
            yield watch


async def test_a_dead_engine_fails_all_that_waits_at_once() -> None:
    stub = StubServer()
    async with watched(stub) as watch:

        async def wait() -> None:
            async with watch.guard():
                await asyncio.sleep(FOREVER)

        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        stub.healthy = False
        async with asyncio.timeout(20):
            errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [ServerDiedError] * 3
    assert "the engine of the vLLM server" in str(errors[0])


async def test_after_the_failure_every_call_fails_without_waiting() -> None:
    stub = StubServer(healthy=False)
    async with watched(stub) as watch:
        with pytest.raises(ServerDiedError):
            async with watch.guard():
                await asyncio.sleep(FOREVER)
        with pytest.raises(ServerDiedError):
            async with watch.guard():
                pytest.fail("the block must not run")


async def test_a_server_that_falls_silent_hangs() -> None:
    stub = StubServer(silent=asyncio.Event())
    async with watched(stub, hang_seconds=0.3) as watch:
        with pytest.raises(ServerDiedError, match="no answer 3 times in a row"):
            async with watch.guard():
                await asyncio.sleep(FOREVER)
        assert stub.silent is not None
        stub.silent.set()


async def test_a_hung_engine_behind_a_healthy_server_is_found_by_asking_it() -> None:
    class Hung(StubServer):
        async def _answer(self, request):  # type: ignore[no-untyped-def]
            if request.path == "/is_paused":
                await asyncio.sleep(FOREVER)
            return await super()._answer(request)

    async with watched(Hung(), hang_seconds=0.3) as watch:
        with pytest.raises(ServerDiedError, match="is_paused"):
            async with watch.guard():
                await asyncio.sleep(FOREVER)


async def test_an_engine_that_loads_weights_may_be_silent() -> None:
    asked = asyncio.Event()

    class Loading(StubServer):
        async def _answer(self, request):  # type: ignore[no-untyped-def]
            if request.path == "/is_paused":
                pytest.fail("nobody asks an engine that is known to be busy")
            asked.set()
            return await super()._answer(request)

    stub = Loading()
    async with stub.running() as url, VLLMApi(url) as api:
        watch = HealthWatch(api, interval=0.0)
        with watch.engine_busy():
            async with watching(watch):
                for _ in range(5):
                    asked.clear()
                    await asked.wait()
                assert watch.failure is None


async def test_one_missed_answer_is_no_failure() -> None:
    missed = 0

    class Hiccup(StubServer):
        async def _answer(self, request):  # type: ignore[no-untyped-def]
            nonlocal missed
            if missed < 2:
                missed += 1
                request.transport.close()
            else:
                answered.set()
            return await super()._answer(request)

    answered = asyncio.Event()
    async with watched(Hiccup()) as watch:
        await answered.wait()
        async with watch.guard():
            assert watch.failure is None


async def test_a_failure_of_the_weights_ends_what_waits_with_its_own_error() -> None:
    async with watched(StubServer()) as watch:

        async def wait() -> None:
            async with watch.guard():
                watch.fail(WeightUpdateError("half updated"))
                await asyncio.sleep(FOREVER)

        with pytest.raises(WeightUpdateError, match="half updated"):
            await wait()


async def test_cancelling_a_guarded_block_stays_a_cancellation() -> None:
    async with watched(StubServer()) as watch:

        async def wait() -> None:
            async with watch.guard():
                await asyncio.sleep(FOREVER)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watch.failure is None


async def test_a_timeout_inside_of_a_guarded_block_stays_a_timeout() -> None:
    async with watched(StubServer()) as watch:
        with pytest.raises(TimeoutError):
            async with watch.guard():
                raise TimeoutError("of the block itself")
