"""What environments share is opened once, waited for by whoever asks meanwhile, and closed with whatever plays them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from agentenv.errors import AgentenvError
from agentenv.resources import Resources, current

Maker = Callable[[], AbstractAsyncContextManager[str]]


class Log(list[str]):
    """What was opened and closed, in order; opening waits where there is a gate."""

    def maker(self, name: str, gate: asyncio.Event | None = None, error: Exception | None = None) -> Maker:
        @contextlib.asynccontextmanager
        async def make() -> AsyncIterator[str]:
            self.append(f"opening {name}")
            if gate is not None:
                await gate.wait()
            if error is not None:
                raise error
            yield name
            self.append(f"closed {name}")

        return make


async def test_a_thing_is_opened_once_and_the_youngest_is_closed_first() -> None:
    log = Log()
    async with Resources() as resources:
        assert [await resources.get(key, log.maker(key)) for key in ("a", "b", "a")] == ["a", "b", "a"]
        assert log == ["opening a", "opening b"]
    assert log[2:] == ["closed b", "closed a"]


async def test_who_asks_while_it_is_opened_waits_for_the_same() -> None:
    log, gate = Log(), asyncio.Event()
    async with Resources() as resources, asyncio.TaskGroup() as group:
        asking = [group.create_task(resources.get("a", log.maker("a", gate))) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
    assert ([task.result() for task in asking], log.count("opening a")) == (["a"] * 3, 1)


async def test_a_failure_is_everybodys_who_waits_and_the_next_one_tries_again() -> None:
    log, gate = Log(), asyncio.Event()
    async with Resources() as resources:
        failing = log.maker("a", gate, ValueError("no"))
        asking = [asyncio.create_task(resources.get("a", failing)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(one) for one in outcomes] == ["no", "no"]
        assert await resources.get("a", log.maker("a")) == "a"


async def test_what_has_died_is_opened_again_once_and_closed_with_the_rest() -> None:
    log, dead = Log(), {"first"}

    async def get(name: str) -> str:
        return await resources.get("a", log.maker(name), usable=lambda thing: thing not in dead)

    async with Resources() as resources:
        await resources.get("a", log.maker("first"))
        assert await asyncio.gather(get("second"), get("third"), get("fourth")) == ["second"] * 3
    assert log == ["opening first", "opening second", "closed second", "closed first"]


async def test_who_waits_takes_over_from_an_opener_that_is_cancelled() -> None:
    log = Log()
    async with Resources() as resources:
        opener = asyncio.create_task(resources.get("a", log.maker("a", asyncio.Event())))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(resources.get("a", log.maker("another a")))
        await asyncio.sleep(0)
        opener.cancel()
        assert await waiting == "another a"
        assert opener.cancelled()


async def test_a_waiter_that_is_cancelled_disturbs_nobody() -> None:
    log, gate = Log(), asyncio.Event()
    async with Resources() as resources:
        opener = asyncio.create_task(resources.get("a", log.maker("a", gate)))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(resources.get("a", log.maker("a")))
        await asyncio.sleep(0)
        waiting.cancel()
        gate.set()
        assert await opener == "a"


async def test_they_are_found_by_whoever_is_played_inside_and_by_nobody_else() -> None:
    assert current() is None
    async with Resources() as outer, Resources() as inner:
        with outer.active():
            assert current() is outer
            with inner.active():
                assert await asyncio.create_task(_found()) is inner
            assert current() is outer
        assert current() is None


async def test_what_is_closed_gives_nothing_any_more() -> None:
    resources = Resources()
    for _ in range(2):
        with pytest.raises(AgentenvError, match="these resources are closed"):
            await resources.get("a", Log().maker("a"))
        async with resources:
            assert await resources.get("a", Log().maker("a")) == "a"


async def _found() -> Resources | None:
    return current()
