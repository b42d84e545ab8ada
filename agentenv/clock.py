"""Deadlines that nobody pays for but their owner: time in which others blocked the event loop does not count.

    async with deadline(30.0) as limit:
        result = await fetch()

It is `asyncio.timeout` on the clock of the episode that runs here. The rollout engine supplies that clock, which
stands still while somebody else's code blocks the loop; where no engine runs, time is the event loop's.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, Self


class Clock(Protocol):
    """Seconds that count against somebody."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop whose stalls this clock leaves out. It may be read on that loop's thread only."""
        ...

    def now(self) -> float: ...


CLOCK: ContextVar[Clock | None] = ContextVar("agentenv_clock", default=None)
"""The clock of whatever runs in this context; tasks inherit it. The rollout engine sets it for every call it makes."""


def now() -> float:
    """Monotonic seconds on the clock of whatever runs here. Differences have a meaning, the value has none."""
    loop = asyncio.get_running_loop()
    clock = CLOCK.get()
    # A thread inherits the context too, and may run a loop of its own.
    return loop.time() if clock is None or clock.loop is not loop else clock.now()


class Deadline:
    """An asynchronous context manager that cancels its block when the time is up, and turns that into `TimeoutError`.

    In everything else it is an `asyncio.timeout`: it may be nested, it leaves other people's cancellations and
    `TimeoutError`s as they are, and `expired` tells whether it was this one.
    """

    __slots__ = ("_at", "_clock", "_loop", "_seconds", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    def expired(self) -> bool:
        """Whether the time was up before the block was over."""
        return self._timeout.expired()

    async def __aenter__(self) -> Self:
        self._loop = loop = asyncio.get_running_loop()
        clock = CLOCK.get()
        self._clock = loop.time if clock is None or clock.loop is not loop else clock.now
        self._at = self._clock() + self._seconds
        await self._timeout.__aenter__()
        self._timer = loop.call_later(self._seconds, self._on_timer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _on_timer(self) -> None:
        left = self._at - self._clock()
        if left > 0:  # others blocked the loop meanwhile
            self._timer = self._loop.call_later(left, self._on_timer)
        else:
            self._timeout.reschedule(self._loop.time())


def deadline(seconds: float) -> Deadline:
    """Gives the block at most `seconds`, not counting what others blocked the event loop for.

    Raises:
        TimeoutError: from the block's end, when the time is up.
    """
    return Deadline(seconds)
