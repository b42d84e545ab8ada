"""Deadlines for calls to code that is not ours: in another task than whoever waits for them, and never for ever."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from agentenv.clock import CLOCK
from agentenv.errors import EpisodeTimeout
from agentenv.outcome import StopReason
from agentenv.rollout.lag import LoopMonitor, Stall

Result = TypeVar("Result")
Part = TypeVar("Part")

_LOG = logging.getLogger("agentenv.rollout")
_CANCELLED_ITSELF = "it raised CancelledError although nobody had cancelled it"
_CURRENT: ContextVar[Call[Any] | None] = ContextVar("agentenv_rollout_call", default=None)


class OutOfTime(EpisodeTimeout):
    """A call did not answer in time; `reason` says whether its own limit or the episode's budget ran out."""

    def __init__(self, message: str, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason


class Budget:
    """An episode's time: runs on the loop's clock, stands still while others block the loop.

    It is the `agentenv.clock.CLOCK` of everything the episode calls, so that a tool's timeout runs on it too.

    Args:
        clock: the shared clock without stalls.
        seconds: how much there is.
    """

    __slots__ = ("_charged", "_deadline", "clock", "seconds", "stalls")

    def __init__(self, clock: LoopMonitor, seconds: float) -> None:
        self.clock = clock
        self._charged = 0.0
        self._deadline = clock.now() + seconds
        self.seconds = seconds
        self.stalls: list[Stall] = []
        """The stalls this episode caused itself; they do count against it."""

    def now(self) -> float:
        """Seconds on this episode's own clock."""
        return self.clock.now() + self._charged

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.clock.loop

    @property
    def left(self) -> float:
        """Seconds left; negative when overdrawn."""
        return self._deadline - self.now()

    def charge(self, stall: Stall) -> None:
        self._charged += stall.seconds
        self.stalls.append(stall)


class Call(Generic[Result]):
    """Work in a task of its own, done in parts with a deadline each; `over` says that it has ended or was given up.

    An episode is one such call and each of its resets, completions and steps a part, so that a part costs neither a
    task nor a turn of the event loop, and the timer that was set for one part serves the next.
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

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Call[Result]], Awaitable[Result]],
        where: str,
        budget: Budget,
        grace: float,
    ) -> None:
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
        self.over: asyncio.Future[None] = loop.create_future()
        context = contextvars.copy_context()  # the caller goes on to do other things than this call
        context.run(self._mark)
        self.task: asyncio.Task[Result] = loop.create_task(self._run(work), name=where, context=context)
        self.task.add_done_callback(self._on_done, context=context)

    async def part(self, function: Callable[[], Awaitable[Part]], where: str, seconds: float) -> Part:
        """Awaits `function()` for at most `seconds` and at most what is left of the budget. For the work itself.

        Raises:
            OutOfTime: one of the two limits ran out.
            RuntimeError: the function cancelled itself.
            Exception: whatever else the function raised.
        """
        task = asyncio.current_task()
        assert task is not None
        task.set_name(where)
        self._begin(where, seconds)
        try:
            result = await _contain(function)
        except asyncio.CancelledError:
            self._end()
            raise RuntimeError(_CANCELLED_ITSELF) from None
        except Exception:
            self._end()
            raise
        self._end()
        if task.cancelling():
            await _absorb(task)
        return result

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
        if not self.over.done():
            self.over.set_result(None)

    def release(self) -> None:
        """Lets go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def overdue(self) -> OutOfTime:
        """What to raise for the part that ran out of time."""
        if self._whole:
            return OutOfTime(f"{self.where} was cut off: {_spent(self.budget)}", StopReason.EPISODE_TIMEOUT)
        return OutOfTime(f"{self.where} gave no answer in {self._seconds:g} s", StopReason.CALL_TIMEOUT)

    def charge(self, stall: Stall) -> None:
        self.budget.charge(stall)

    def _mark(self) -> None:
        _CURRENT.set(self)
        CLOCK.set(self.budget)

    async def _run(self, work: Callable[[Call[Result]], Awaitable[Result]]) -> Result:
        try:
            return await work(self)
        finally:  # said here already, a turn of the loop before the task's callbacks are called
            if not self.over.done():
                self.over.set_result(None)

    def _begin(self, where: str, seconds: float) -> None:
        left = self.budget.left
        if left <= 0:
            raise OutOfTime(f"{where} was not begun: {_spent(self.budget)}", StopReason.EPISODE_TIMEOUT)
        self.where, self._seconds = where, seconds
        self._whole = (
            left < seconds
        )  # whether what is left of the budget, and not the part's own limit, will cut it off
        seconds = min(seconds, left)
        self._deadline = self.budget.now() + seconds
        self._wake_in(seconds)

    def _end(self) -> None:
        """The end of a part, however it came; raises what counts for more than that."""
        late = self.expired or self.budget.now() > self._deadline
        self._deadline = math.inf
        if late:
            raise self.overdue() from None
        if self._stopped:
            raise asyncio.CancelledError

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
        _retrieve(task)
        if not self.over.done():
            self.over.set_result(None)


class Limits:
    """Runs calls under deadlines on one event loop, and keeps account of those that would not stop.

    Args:
        stall_threshold: see `RolloutConfig`.
        cancel_grace: see `RolloutConfig`.
    """

    def __init__(self, stall_threshold: float, cancel_grace: float) -> None:
        self.clock = LoopMonitor(stall_threshold, self._culprit_of)
        self.abandoned: list[str] = []
        """Every call given up on because it ignored cancellation, by name, oldest first."""
        self._grace = cancel_grace

    async def supervise(self, work: Callable[[Call[Result]], Awaitable[Result]], where: str, budget: Budget) -> Result:
        """Awaits `work(call)`, which does everything that takes time in parts of the call it is given.

        The work runs in its own task: neither its cancelling itself nor its ignoring a cancellation reaches the
        caller. Cancelling the caller stops the work, waits out its grace period and raises `CancelledError`.

        Raises:
            OutOfTime: a part ran out of time and would not stop either.
            Exception: whatever the work raised.
        """
        return await self.finish(Call(asyncio.get_running_loop(), work, where, budget, self._grace))

    async def call(
        self, function: Callable[[], Awaitable[Result]], where: str, seconds: float, budget: Budget
    ) -> Result:
        """Awaits `function()` for at most `seconds` and at most what is left of `budget`, as the only part of its work.

        Raises:
            OutOfTime: one of the two limits ran out.
            Exception: whatever the function raised.
        """
        return await self.finish(self.begin(function, where, seconds, budget))

    def begin(
        self, function: Callable[[], Awaitable[Result]], where: str, seconds: float, budget: Budget
    ) -> Call[Result]:
        """Begins a call that `finish` must be awaited for; for callers who cannot wait where they are."""
        loop = asyncio.get_running_loop()
        return Call(loop, lambda call: call.part(function, where, seconds), where, budget, self._grace)

    async def finish(self, call: Call[Result]) -> Result:
        """Awaits a call that was begun. Cancelling this, and what it raises, is as with `call`."""
        try:
            await call.over
        except asyncio.CancelledError:
            call.stop()
            try:
                await call.over
            except asyncio.CancelledError:
                call.abandon()
            raise
        finally:
            call.release()
            if call.abandoned:
                self._let_go(call)
        if call.abandoned:
            raise call.overdue() if call.expired else RuntimeError("it was told to stop and did not")
        if call.task.cancelled():
            raise RuntimeError(_CANCELLED_ITSELF)
        return call.task.result()

    def _culprit_of(self, task: asyncio.Task[Any]) -> Call[Any] | None:
        """The call to charge; another engine's on the same loop is charged by that engine."""
        call = call_of(task)
        return call if call is not None and call.budget.clock is self.clock else None

    def _let_go(self, call: Call[Any]) -> None:
        _LOG.warning("%s ignored its cancellation for %g s and was abandoned", call.where, self._grace)
        self.abandoned.append(call.where)
        # asyncio.run awaits every task at its end and would hang on this one. Closing the coroutine from outside ends
        # it whatever it swallows; the task then finds nothing left to run.
        with contextlib.suppress(Exception, asyncio.CancelledError):  # "coroutine ignored GeneratorExit"
            call.task.get_coro().close()
        call.task.cancel()


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


async def _absorb(task: asyncio.Task[Any]) -> None:
    """Takes back what a part did to the task it shares with the next: asking for its own cancellation.

    Raises:
        RuntimeError: the part ended before the cancellation reached it, which is as good as raising it.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        raise RuntimeError(_CANCELLED_ITSELF) from None
    finally:
        while task.cancelling():
            task.uncancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Keeps asyncio from reporting an exception as lost that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _spent(budget: Budget) -> str:
    return f"the episode's {budget.seconds:g} s were spent"
