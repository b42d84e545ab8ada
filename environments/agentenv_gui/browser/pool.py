"""Pages for many episodes at a time, in one browser that is looked after."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from agentenv.clock import deadline
from agentenv.errors import ConfigError, SandboxError
from agentenv.sandbox import MIB
from agentenv.threads import THREADS
from agentenv_gui.browser.chromium import Chromium
from agentenv_gui.browser.memory import memory_of
from agentenv_gui.browser.options import USUAL, PageOptions
from agentenv_gui.browser.page import Page, open_page


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """What a pool may use.

    Attributes:
        pages: at a time, those that wait for another episode included; 20 to 60 MB each.
        memory_bytes: of the browser, all of its processes together; looked at every `look_seconds`.
        wait_seconds: how long one waits for a page.

    Raises:
        ConfigError: one of them is not above zero.
    """

    pages: int = 16
    memory_bytes: int = 6 * 1024 * MIB
    look_seconds: float = 5.0
    wait_seconds: float = 600.0

    def __post_init__(self) -> None:
        if min(self.pages, self.memory_bytes, self.look_seconds, self.wait_seconds) <= 0:
            raise ConfigError(f"a browser's pages, memory and times are above zero, not {self}")


ROOMY = PoolOptions()
"""For one machine of the usual kind."""


@dataclass(slots=True, eq=False)
class _Opened:
    """A page that is open: the browser that it is in, and what it is kept for, if it is kept."""

    page: Page
    browser: Chromium
    closing: AsyncExitStack
    kind: Hashable | None = None


class PagePool:
    """A browser and its pages, lent one by one. An asynchronous context manager.

    Every lease has a page in a new context, unless it asks for one of a kind: then what an earlier lease of the same
    kind has left behind is as good, in whatever state that is. The browser is started when it is first needed, and
    again when it has died: whoever had a page in it meets a `SandboxError`. When it takes too much memory, the pages
    that wait for a lease are closed; if that does not do, nobody gets another page until all have been given back, and
    then there is a new browser. So whoever holds a page must not wait for a second one.

    Attributes:
        started: how many browsers there have been.

    Example:
        async with PagePool() as pool, pool.lease(PageOptions(Size(800, 600))) as page:
            await page.goto("data:text/html,<h1>Hello</h1>")
    """

    def __init__(self, options: PoolOptions = ROOMY) -> None:
        self.options = options
        self.started = 0
        self._room = asyncio.Semaphore(options.pages)
        self._lent = 0
        self._idle: list[_Opened] = []  # the one that was used last is the last
        self._browser: Chromium | None = None
        self._starting = asyncio.Lock()
        self._enough_memory = asyncio.Event()
        self._enough_memory.set()
        self._caretaker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._caretaker = asyncio.create_task(self._look_after(), name="agentenv-browser-caretaker")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._caretaker is not None:
            self._caretaker.cancel()
            await asyncio.wait([self._caretaker])
        self._idle.clear()
        await self._end_browser()

    @property
    def browser(self) -> Chromium | None:
        """The one that is running, if one is."""
        return self._browser

    @contextlib.asynccontextmanager
    async def lease(self, options: PageOptions = USUAL, *, kind: Hashable | None = None) -> AsyncIterator[Page]:
        """A page until the end of the block.

        Args:
            kind: what it is used for. One that was used for the same before, with the same options, comes as it is
                then; and this one is kept for the next, if it is still usable.

        Raises:
            SandboxError: no page has become free in time, or the browser cannot be used.
        """
        try:
            async with deadline(self.options.wait_seconds):
                await self._admitted()
        except TimeoutError:
            raise SandboxError(
                f"none of {self.options.pages} pages has become free within {self.options.wait_seconds:g} s"
            ) from None
        try:
            self._lent += 1
            try:
                opened = await self._lend(options, kind)
                try:
                    yield opened.page
                finally:
                    await self._take_back(opened)
            finally:
                self._lent -= 1
                await self._renew()
        finally:
            self._room.release()

    async def _admitted(self) -> None:
        """Until there is room for one more, in the order of coming."""
        await self._room.acquire()
        try:
            await self._enough_memory.wait()
        except BaseException:
            self._room.release()
            raise

    async def _lend(self, options: PageOptions, kind: Hashable | None) -> _Opened:
        for opened in reversed(self._idle):
            if kind is not None and (opened.kind, opened.page.options) == (kind, options) and self._usable(opened):
                self._idle.remove(opened)
                break
        else:
            while self._idle and len(self._idle) + self._lent > self.options.pages:
                await self._close(self._idle.pop(0))
            opened = await self._open(options)
        opened.kind = kind
        return opened

    async def _take_back(self, opened: _Opened) -> None:
        kept = False
        try:
            if opened.kind is not None and self._usable(opened) and self._enough_memory.is_set():
                with contextlib.suppress(SandboxError):
                    await opened.page.let_go()
                    kept = True
        finally:
            if kept:
                self._idle.append(opened)
            else:
                await self._close(opened)

    def _usable(self, opened: _Opened) -> bool:
        return opened.page.usable and opened.browser is self._browser

    async def _open(self, options: PageOptions) -> _Opened:
        browser = await self._running()
        closing = AsyncExitStack()
        page = await closing.enter_async_context(open_page(browser, options))
        return _Opened(page, browser, closing)

    async def _close(self, opened: _Opened) -> None:
        """Closes a page. A browser that does not do it is of no use."""
        try:
            await opened.closing.aclose()
        except SandboxError:
            if opened.browser is self._browser:
                await self._end_browser(force=True)

    async def _running(self) -> Chromium:
        async with self._starting:
            if self._browser is None or not self._browser.alive:
                await self._end_browser(force=True)
                self._browser = await Chromium().__aenter__()
                self.started += 1
            return self._browser

    async def _end_browser(self, *, force: bool = False) -> None:
        browser, self._browser = self._browser, None
        self._idle.clear()
        if browser is not None:
            await browser.stop(force=force)

    async def _look_after(self) -> None:
        """Closes pages that have crashed while nobody had them, and keeps the browser from growing too large."""
        while True:
            await asyncio.sleep(self.options.look_seconds)
            while (failed := next((opened for opened in self._idle if not self._usable(opened)), None)) is not None:
                self._idle.remove(failed)
                await self._close(failed)
            if await self._too_large():
                while self._idle:
                    await self._close(self._idle.pop(0))
                if await self._too_large():
                    self._enough_memory.clear()
                    await self._renew()

    async def _renew(self) -> None:
        """Ends a browser that has become too large, once nobody has a page."""
        if not self._lent and not self._enough_memory.is_set():
            await self._end_browser()
            self._enough_memory.set()

    async def _too_large(self) -> bool:
        if self._browser is None or not self._browser.alive:
            return False
        taken: int = await THREADS.run(functools.partial(memory_of, self._browser.pid))
        return taken > self.options.memory_bytes
