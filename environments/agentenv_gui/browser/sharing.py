"""One browser for all the episodes that are played together."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AsyncExitStack

from agentenv.resources import current
from agentenv_gui.browser.options import USUAL, PageOptions
from agentenv_gui.browser.page import Page
from agentenv_gui.browser.pool import ROOMY, PagePool, PoolOptions


class BorrowedPages:
    """Pages of a pool that is shared where there is somebody to share it with, and opened when first needed.

    An environment keeps one for its lifetime: it gives its pages back in `release`, and in `close` ends the pool too
    where that is its own.

    Args:
        options: of the pool; they are part of what is shared.

    Example:
        page = await self.pages.lease(PageOptions(Size(800, 600)))
    """

    def __init__(self, options: PoolOptions = ROOMY) -> None:
        self._options = options
        self._held = AsyncExitStack()
        self._own = AsyncExitStack()
        self._pool: PagePool | None = None

    async def pool(self) -> PagePool:
        """The pool, open."""
        resources = current()
        if resources is not None:
            return await resources.get(("browser", self._options), self._make)
        if self._pool is None:
            self._pool = await self._own.enter_async_context(self._make())
        return self._pool

    def _make(self) -> PagePool:
        return PagePool(self._options)

    async def lease(self, options: PageOptions = USUAL, *, kind: Hashable | None = None) -> Page:
        """A page until `release`. As `PagePool.lease`."""
        pool = await self.pool()
        return await self._held.enter_async_context(pool.lease(options, kind=kind))

    async def release(self) -> None:
        """Gives the pages back. Twice is fine."""
        held, self._held = self._held, AsyncExitStack()
        await held.aclose()

    async def close(self) -> None:
        """Gives the pages back, and ends the pool where it is this one's own. Afterwards it can be used again."""
        own, self._own, self._pool = self._own, AsyncExitStack(), None
        try:
            await self.release()
        finally:
            await own.aclose()
