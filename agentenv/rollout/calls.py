"""Calls to code that is not ours: work in a task of its own, done in parts with a deadline each."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from agentenv.clock import CLOCK
from agentenv.outcome import StopReason
from agentenv.rollout.budget import Budget, OutOfTime
from agentenv.rollout.lag import Stall

Result = TypeVar("Result")
Part = TypeVar("Part")

CANCELLED_ITSELF = "it raised CancelledError although nobody had cancelled it"

_CURRENT: ContextVar[Call[Any] | None] = ContextVar("agentenv_rollout_call", default=None)


class Call(Generic[Result]):
    """Work in one task, done in parts with a deadline each; `over` says that it has ended or was given up.

    An episode is one such call and each of its resets, completions and steps a part, so that a part costs neither a
    task nor a turn of the event loop, and the timer that was set for one part serves the next.

    Args:
        loop: runs it.
        where: the part that runs first, or what to call the whole until one does.
        budget: its time, all parts together.
        grace: seconds it may take to stop.
    """

    __slots__ = (
        "_deadline",
        "_grace",
        "_loop",
        "_seconds",
        "_stopped",
        "_timer",
        "_whole",
        "abandoned",
        "budget",
        "expired",
        "over",
        "task",
        "where",
    )

    over: asyncio.Future[None]
    task: asyncio.Task[Any]
    """Ends as the call does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str, budget: Budget, grace: float) -> None:
        self._loop = loop
        self._grace = grace
        self._deadline = self._seconds = math.inf
        self._whole = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self.where = where
        """The part that runs now."""
        self.budget = budget
        self.expired = False
        self.abandoned = False

    def start(self, work: Callable[[Call[Result]], Awaitable[Result]]) -> None:
        """Runs the work in a task of its own."""
        self.over = self._loop.create_future()
        context = self._own_context()
        task = self._loop.create_task(self._work(work), name=self.where, context=context)
        self._belong(task, context)

    async def part(self, function: Callable[[], Awaitable[Part]], where: str, seconds: float) -> Part:
        """Awaits `function()` for at most `seconds` and at most what is left of the budget. For the work itself.

        Raises:
            OutOfTime: one of the two limits ran out.
            RuntimeError: the function cancelled itself.
            Exception: whatever else the function raised.
        """
        self._wake_in(self._begin(where, seconds))
        self._current_task().set_name(where)
        return await self._await(function)

    def stop(self) -> None:
        """Tells the task to stop and gives it the grace period to do so."""
        self.release()
        self._stopped = True
        if self.over.done():
            self.over = self._loop.create_future()
        if self.task.done():
            self.over.set_result(None)
            return
        self.task.cancel()
        self._timer = self._loop.call_later(self._grace, self.abandon)

    def abandon(self) -> None:
        """Stops waiting for a task that ignores cancellation."""
        self.abandoned = not self.task.done()
        self._say_over()

    def release(self) -> None:
        """Lets go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def overdue(self) -> OutOfTime:
        """What to raise for the part that ran out of time."""
        if self._whole:
            return self.budget.spent(f"{self.where} was cut off")
        return OutOfTime(f"{self.where} gave no answer in {self._seconds:g} s", StopReason.CALL_TIMEOUT)

    def charge(self, stall: Stall) -> None:
        self.budget.charge(stall)

    def _own_context(self) -> contextvars.Context:
        """A context that knows whose it is. A copy: the caller goes on to do other things than this call."""
        context = contextvars.copy_context()
        context.run(self._mark)
        return context

    def _mark(self) -> None:
        _CURRENT.set(self)
        CLOCK.set(self.budget)

    def _belong(self, task: asyncio.Task[Any], context: contextvars.Context) -> None:
        self.task = task
        task.add_done_callback(self._on_done, context=context)

    async def _work(self, work: Callable[[Call[Result]], Awaitable[Result]]) -> Result:
        try:
            return await work(self)
        finally:  # said here already, a turn of the loop before the task's callbacks are called
            self._say_over()

    def _begin(self, where: str, seconds: float) -> float:
        """The beginning of a part; the seconds that it has."""
        budget = self.budget
        now = budget.now()
        if budget.deadline <= now:
            raise budget.spent(f"{where} was not begun")
        self.where, self._seconds = where, seconds
        # Whether what is left of the budget, and not the part's own limit, will cut it off.
        self._whole = budget.deadline < now + seconds
        self._deadline = budget.deadline if self._whole else now + seconds
        return self._deadline - now

    async def _await(self, function: Callable[[], Awaitable[Part]]) -> Part:
        """Awaits a part that has begun, to its end; see `part`."""
        task = self._current_task()
        cancelled = task.cancelling()
        try:
            result = await _contain(function)
        except asyncio.CancelledError:
            self._end()
            await self._take_back(task, cancelled)
            raise RuntimeError(CANCELLED_ITSELF) from None
        except Exception:
            self._end()
            await self._take_back(task, cancelled)
            raise
        self._end()
        if task.cancelling() > cancelled:
            await self._take_back(task, cancelled)
        return result

    def _end(self) -> None:
        """The end of a part, however it came; raises what counts for more than that."""
        late = self.expired or self.budget.now() > self._deadline
        self._deadline = math.inf
        if late:
            raise self.overdue() from None
        if self._stopped:
            raise asyncio.CancelledError

    async def _take_back(self, task: asyncio.Task[Any], cancelled: int) -> None:
        """Undoes what a part did to the task it shares with others: asking for its cancellation.

        Args:
            cancelled: how often the task had been told to stop before the part.

        Raises:
            RuntimeError: the part ended before the cancellation reached it, which is as good as raising it.
        """
        if task.cancelling() <= cancelled:
            return
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._stopped:
                raise
            raise RuntimeError(CANCELLED_ITSELF) from None
        finally:
            while task.cancelling() > cancelled:
                task.uncancel()

    def _current_task(self) -> asyncio.Task[Any]:
        task = asyncio.current_task(self._loop)
        assert task is not None, "calls run in tasks"
        return task

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + seconds:
                return  # set for an earlier part, it comes early and is then set again
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        left = self._deadline - self.budget.now()
        if left <= 0:
            self.expired = True
            self.stop()
        elif left < math.inf:  # another part runs by now, or others blocked the loop meanwhile
            self._wake_in(left)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # or asyncio reports one as lost that nobody waits for any more
        self._say_over()

    def _say_over(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


def call_of(task: asyncio.Task[Any]) -> Call[Any] | None:
    """The call a task works for: its own, or that of the task that started it."""
    get_context = getattr(task, "get_context", None)  # Python 3.12 and later
    if get_context is not None:
        found: Call[Any] | None = get_context().get(_CURRENT)
        return found
    # Before that, the context a task was started in is kept with its done callbacks: TaskGroup, gather and wait all
    # add one, and so does Call.
    for _, context in getattr(task, "_callbacks", None) or ():
        found = context.get(_CURRENT)
        if found is not None:
            return found
    return None


async def _contain(function: Callable[[], Awaitable[Result]]) -> Result:
    """Awaits `function()`; makes exceptions that would end the event loop (`sys.exit()` in a game) ordinary ones."""
    try:
        return await function()
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
