"""What environments share: opened for the first that asks, closed together with whatever plays them.

A thousand episodes run their code in the sandboxes of one zygote and search one index. The engine, the environment
server and the audit each open `Resources` and play inside of it; an environment asks `current()`, and where nobody has
opened any it makes its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from typing import Any, Self, TypeVar

from agentenv.errors import AgentenvError

T = TypeVar("T")

_CURRENT: ContextVar[Resources | None] = ContextVar("agentenv_resources", default=None)


class Resources:
    """Things by key, each opened once. An asynchronous context manager that closes them, the youngest first.

    Example:
        async with Resources() as resources:
            with resources.active():
                await play()  # whoever asks `current()` in there, or in a task begun in there, finds these
    """

    def __init__(self) -> None:
        self._things: dict[Hashable, asyncio.Future[Any]] = {}
        self._stack = AsyncExitStack()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        self._things.clear()
        await self._stack.aclose()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Makes these the ones that `current` finds."""
        before = _CURRENT.get()
        _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.set(before)  # a token would insist on the context it comes from; a step may end in another task

    async def get(
        self,
        key: Hashable,
        make: Callable[[], AbstractAsyncContextManager[T]],
        usable: Callable[[T], bool] = lambda thing: True,
    ) -> T:
        """What this key stands for, opened by `make` where nobody has asked for it yet, or what there was has died.

        Whoever asks meanwhile waits for the same. A failure is everybody's who waits, and the next one tries again.

        Args:
            usable: whether it can still be used. What cannot is closed with everything else.

        Raises:
            AgentenvError: these are not open, or no longer. Whatever opening it raises.
        """
        while (found := self._opened(key)) is not None:
            with contextlib.suppress(_GaveUpError):
                shared: T = await asyncio.shield(found)
                if usable(shared):
                    return shared
                if self._things.get(key) is found:
                    del self._things[key]
        opened = self._things[key] = asyncio.get_running_loop().create_future()
        try:
            thing = await self._stack.enter_async_context(make())
        except BaseException as error:
            del self._things[key]
            opened.set_exception(error if isinstance(error, Exception) else _GaveUpError())
            opened.exception()  # nobody has to wait for it
            raise
        opened.set_result(thing)
        return thing

    def _opened(self, key: Hashable) -> asyncio.Future[Any] | None:
        if not self._open:
            raise AgentenvError("these resources are closed; whatever plays the environments must open them")
        return self._things.get(key)


class _GaveUpError(Exception):
    """Whoever opened it was cancelled; somebody else has to."""


def current() -> Resources | None:
    """The resources of whatever plays this environment; `None` where there are none."""
    return _CURRENT.get()
