"""Pages are lent to many episodes, and none of them finds what another has left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio

from agentenv.errors import SandboxError
from agentenv.resources import Resources
from agentenv_gui.actions import Click, KeyDown, Point
from agentenv_gui.browser.cdp import BrowserGone
from agentenv_gui.browser.page import PageOptions
from agentenv_gui.browser.pool import PagePool, PoolOptions
from agentenv_gui.browser.sharing import BorrowedPages
from tests.gui_browser.site import SIZE, document
from tests.support.chromium import require_chromium

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMALL = PageOptions(SIZE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pool() -> AsyncIterator[PagePool]:
    """A pool of two pages, for the tests that do not end its browser."""
    require_chromium()
    async with PagePool(PoolOptions(pages=2, look_seconds=0.05)) as opened:
        yield opened


async def contexts(pool: PagePool) -> int:
    """How many the browser has."""
    assert pool.browser is not None
    return len((await pool.browser.connection.send("Target.getBrowserContexts"))["browserContextIds"])


async def test_a_page_is_new_unless_one_of_a_kind_is_asked_for(pool: PagePool) -> None:
    async with pool.lease(SMALL) as page:
        await page.goto(document("<script>name = 'left behind'</script>"))
    async with pool.lease(SMALL) as page:
        assert await page.evaluate("name") == ""
    async with pool.lease(SMALL, kind="shop") as first:
        await first.goto(document("the shop<script>onkeydown = ({key}) => { last = key }</script>"))
        await first.act(KeyDown("Control"))
    async with pool.lease(SMALL, kind="shop") as again, pool.lease(SMALL, kind="shop") as other:
        assert again is first
        assert other is not first
        assert await again.evaluate("document.body.innerText") == "the shop"
        await again.evaluate("onclick = (event) => { held = event.ctrlKey }")
        await again.act(Click(Point(5, 5)))
        assert await again.evaluate("held") is False  # what was held down is not
    async with pool.lease(PageOptions(SIZE, scale=2.0), kind="shop") as different:
        assert different not in (again, other)


async def test_whoever_comes_first_is_served_first_and_there_are_never_more_pages(pool: PagePool) -> None:
    served: list[int] = []
    most = 0

    async def episode(number: int) -> None:
        nonlocal most
        async with pool.lease(SMALL, kind=number % 2 or None):
            served.append(number)
            most = max(most, await contexts(pool))

    async with pool.lease(SMALL), asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(episode(number))
    assert served == list(range(6))
    assert most <= 2


async def test_a_page_that_waits_for_its_kind_makes_room_for_another(pool: PagePool) -> None:
    for kind in ("one", "two", "three", "four"):
        async with pool.lease(SMALL, kind=kind):
            assert await contexts(pool) <= 2


async def test_nobody_waits_for_a_page_for_ever(pool: PagePool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool.lease(SMALL), pool.lease(SMALL):
        monkeypatch.setattr(pool, "options", replace(pool.options, wait_seconds=0.1))
        with pytest.raises(SandboxError, match=r"none of 2 pages has become free within 0.1 s"):
            async with pool.lease(SMALL):
                pass


async def test_whoever_gives_up_waiting_does_not_stand_in_the_way(pool: PagePool) -> None:
    async with pool.lease(SMALL), pool.lease(SMALL):
        waiting = asyncio.create_task(pool.lease(SMALL).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with pool.lease(SMALL), pool.lease(SMALL):
        pass


async def test_a_page_that_failed_or_was_given_up_is_not_lent_again(pool: PagePool) -> None:
    async with pool.lease(SMALL, kind="x") as crashed:
        with pytest.raises(SandboxError):
            await crashed.goto("chrome://crash")
    async with pool.lease(SMALL, kind="x") as page:
        assert page is not crashed
        acting = asyncio.create_task(page.run_clock(50.0))
        await asyncio.sleep(0.05)
        acting.cancel()
        await asyncio.wait([acting])
    async with pool.lease(SMALL, kind="x") as other:
        assert other is not page
        await other.goto(document("well"))


async def test_a_page_that_crashes_while_nobody_has_it_is_closed(pool: PagePool) -> None:
    async with pool.lease(SMALL, kind="crashing") as page:
        pass
    before = await contexts(pool)
    page.session.post("Page.crash")
    async with asyncio.timeout(20):
        while await contexts(pool) == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_a_lease_that_was_lost_gives_its_page_back(pool: PagePool) -> None:
    async def careless() -> None:
        held = AsyncExitStack()
        await held.enter_async_context(pool.lease(SMALL))
        await held.enter_async_context(pool.lease(SMALL))

    await careless()
    gc.collect()
    async with asyncio.timeout(20), pool.lease(SMALL), pool.lease(SMALL):
        pass


async def test_a_browser_that_died_is_replaced_and_its_episodes_fail() -> None:
    require_chromium()
    async with PagePool(PoolOptions(pages=2)) as pool:
        async with pool.lease(SMALL, kind="x") as kept:
            await kept.goto(document(""))
        async with pool.lease(SMALL) as page:
            assert pool.browser is not None
            assert pool.started == 1
            os.kill(pool.browser.pid, signal.SIGKILL)
            with pytest.raises(BrowserGone):
                await page.run_clock(60.0)
        async with pool.lease(SMALL, kind="x") as page:
            assert page is not kept
            await page.goto(document("well"))
        assert pool.started == 2


async def test_a_browser_that_takes_too_much_memory_is_replaced_when_nobody_has_a_page() -> None:
    require_chromium()
    async with PagePool(PoolOptions(pages=3, memory_bytes=2**20, look_seconds=0.05)) as pool:
        async with pool.lease(SMALL, kind="x"):
            pass
        async with pool.lease(SMALL) as page:
            while pool._enough_memory.is_set():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(pool.lease(SMALL).__aenter__())
            await asyncio.sleep(0.1)
            started = pool.started
            assert not waiting.done()
            await page.goto(document("still well"))
        await waiting
        assert pool.started == started + 1


async def test_environments_that_are_played_together_share_a_browser() -> None:
    require_chromium()
    async with Resources() as resources:
        with resources.active():
            one, other = BorrowedPages(), BorrowedPages()
            first, second = await one.lease(SMALL), await other.lease(SMALL)
            assert first.browser is second.browser
            await one.close()
            await second.goto(document("still there"))
            await other.close()
            assert first.browser.alive
    assert not first.browser.alive


async def test_an_environment_on_its_own_ends_its_browser() -> None:
    require_chromium()
    pages = BorrowedPages()
    page = await pages.lease(SMALL)
    await pages.release()
    assert page.browser.alive
    assert not page.usable
    again = await pages.lease(SMALL)
    assert again.browser is page.browser
    await pages.close()
    assert not page.browser.alive
