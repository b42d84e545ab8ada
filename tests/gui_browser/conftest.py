"""Pages of the shared browser that are used from test to test as long as they are well, and a small site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from agentenv_gui.actions import Move, Point
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.page import Page, PageOptions, open_page
from tests.gui_browser.site import SIZE, Site


class Warm:
    """One page, opened again where it has failed."""

    def __init__(self, browser: Chromium, options: PageOptions) -> None:
        self._browser, self._options = browser, options
        self._held = AsyncExitStack()
        self._page: Page | None = None

    async def page(self) -> Page:
        """With nothing held down and the pointer in the corner, and else as it was left."""
        if self._page is None or not self._page.usable:
            await self._held.aclose()
            self._page = await self._held.enter_async_context(open_page(self._browser, self._options))
        await self._page.perform(Move(Point(0, 0)))
        await self._page.let_go()
        return self._page

    async def close(self) -> None:
        await self._held.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm(chromium: Chromium) -> AsyncIterator[Warm]:
    kept = Warm(chromium, PageOptions(SIZE))
    yield kept
    await kept.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(warm: Warm) -> Page:
    """A page that can reach nothing."""
    return await warm.page()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def serving() -> AsyncIterator[Site]:
    async with Site() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def site(serving: Site) -> AsyncIterator[Site]:
    """A site without pages."""
    serving.clear()
    yield serving
    serving.answer_late.set()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_at_site(chromium: Chromium, serving: Site) -> AsyncIterator[Warm]:
    kept = Warm(chromium, PageOptions(SIZE, reachable=(serving.host,)))
    yield kept
    await kept.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page_of_site(warm_at_site: Warm, site: Site) -> Page:
    """A page that can reach the site."""
    return await warm_at_site.page()
