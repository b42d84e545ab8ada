"""Deadlines for calls to code that is not ours: none awaited for ever, none in a task that others depend on."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, Self, TypeVar

from agentenv.clock import CLOCK
from agentenv.errors import EpisodeTimeout
from agentenv.outcome import StopReason
from agentenv.rollout.lag import LoopMonitor, Stall

Result = TypeVar("Result")

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

    __slots__ = ("_charged", "clock", "deadline", "seconds", "stalls")

    def __init__(self, clock: LoopMonitor, seconds: float) -> None:
        self.clock = clock
        self._charged = 0.0
        self.deadline = clock.now() + seconds
        """When it will be spent, on its own clock."""
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
        return self.deadline - self.now()

    def charge(self, stall: Stall) -> None:
        self._charged += stall.seconds
        self.stalls.append(stall)


class Call(Generic[Result]):
    """One running call: its task, its timer, and the future that says it is over one way or another."""

    __slots__ = (
        "_deadline",
        "_grace",
        "_loop",
        "_timer",
        "abandoned",
        "budget",
        "expired",
        "over",
        "seconds",
        "task",
        "where",
        "whole",
    )

    task: asyncio.Task[Any]
    """Ends as the call does."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, where: str, seconds: float, budget: Budget, grace: float
    ) -> None:
        now = budget.now()
        if budget.deadline <= now:
            raise OutOfTime(f"{where} was not begun: {_spent(budget)}", StopReason.EPISODE_TIMEOUT)
        self.seconds = seconds
        self.whole = budget.deadline < now + seconds
        """Whether what is left of the budget, and not the call's own limit, will cut it off."""
        self._loop = loop
        self._grace = grace
        self._deadline = budget.deadline if self.whole else now + seconds
        self.where = where
        self.budget = budget
        self.expired = False
        self.abandoned = False

    def context(self) -> contextvars.Context:
        """A context that knows whose it is. A copy: the caller goes on to do other things than this call."""
        context = contextvars.copy_context()
        context.run(self._mark)
        return context

    def start(self, function: Callable[[], Awaitable[Result]]) -> None:
        """Runs the call in a task of its own."""
        context = self.context()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self.watch(self._loop.create_task(self._run(function), name=self.where, context=context), context)

    def watch(self, task: asyncio.Task[Any], context: contextvars.Context) -> None:
        """Makes `task` the call's own, and lets the time run."""
        self.task = task
        task.add_done_callback(self._on_done, context=context)
        self._timer = self._loop.call_later(self._deadline - self.budget.now(), self._on_deadline)

    def _mark(self) -> None:
        _CURRENT.set(self)
        CLOCK.set(self.budget)

    async def _run(self, function: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await _contain(function)
        finally:  # said here already, a turn of the loop before the task's callbacks are called
            if not self.over.done():
                self.over.set_result(None)

    def charge(self, stall: Stall) -> None:
        self.budget.charge(stall)

    def stop(self) -> None:
        """Tells the task to stop and gives it the grace period to do so."""
        self._timer.cancel()
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

    def settle(self) -> None:
        """Ends the bookkeeping."""
        self._timer.cancel()

    def check_time(self) -> None:
        """Raises `OutOfTime` for a call that is over, and was not in time."""
        if not self.expired and self.budget.now() <= self._deadline:
            return
        self.expired = True
        if self.whole:
            raise OutOfTime(f"{self.where} was cut off: {_spent(self.budget)}", StopReason.EPISODE_TIMEOUT)
        raise OutOfTime(f"{self.where} gave no answer in {self.seconds:g} s", StopReason.CALL_TIMEOUT)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        _retrieve(task)
        if not self.over.done():
            self.over.set_result(None)

    def _on_deadline(self) -> None:
        left = self._deadline - self.budget.now()
        if left > 0:  # others blocked the loop meanwhile, which is not this call's fault
            self._timer = self._loop.call_later(left, self._on_deadline)
            return
        self.expired = True
        self.stop()


class LentCall(Call[Result]):
    """A call that runs in its caller's task. The caller parts with the task when the call has to wait, not before."""

    __slots__ = ("_awaited", "_context", "_coroutine", "_limits")

    def attempt(self, limits: Limits, function: Callable[[], Awaitable[Result]]) -> Result | LentCall[Result]:
        """See `Limits.attempt`."""
        self._limits = limits
        self._context = self.context()
        task = asyncio.current_task(self._loop)
        assert task is not None, "only a task can be lent"
        cancelled = task.cancelling()
        error: BaseException | None = None
        self._coroutine: Coroutine[Any, Any, Any] = _contain(function)
        try:
            self._awaited = self._advance(self._coroutine.send, None)
        except StopIteration as end:
            result: Result = end.value
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
        else:
            return self._keep(task)
        if task.cancelling() != cancelled:  # by the call itself: it shall end as one in a task of its own would
            self._coroutine, self._awaited = asyncio.sleep(0), None
            return self._keep(task)
        del self._context  # it knows this call, and the two would keep each other
        self.check_time()
        if isinstance(error, asyncio.CancelledError):
            raise RuntimeError(_CANCELLED_ITSELF) from error
        if error is not None:
            raise error
        return result

    @types.coroutine
    def rest(self) -> Generator[Any, Any, Result]:
        """Goes on where the call had to wait: for the task that was lent, which has nothing else to do any more."""
        try:
            while True:
                try:
                    resume = partial(self._coroutine.send, (yield self._awaited))
                except BaseException as error:
                    resume = partial(self._coroutine.throw, error)
                try:
                    self._awaited = self._advance(resume)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
        finally:
            del self._context
            if not self.over.done():
                self.over.set_result(None)

    def _keep(self, task: asyncio.Task[Any]) -> Self:
        self.over = self._loop.create_future()
        self.watch(task, self._context)
        return self

    def _advance(self, resume: Callable[..., Any], *arguments: Any) -> Any:
        self._limits.at_work = self
        try:
            return self._context.run(resume, *arguments)
        finally:
            self._limits.at_work = None


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
        self.at_work: Call[Any] | None = None
        """The call that has the event loop at this moment, if it is in a task that was lent to it."""
        self._grace = cancel_grace

    async def call(
        self, function: Callable[[], Awaitable[Result]], where: str, seconds: float, budget: Budget
    ) -> Result:
        """Awaits `function()` for at most `seconds` and at most what is left of `budget`.

        The call runs in its own task: neither its cancelling itself nor its ignoring a cancellation reaches the
        caller. Cancelling the caller stops the call, waits out its grace period and raises `CancelledError`.

        Raises:
            OutOfTime: one of the two limits ran out.
            Exception: whatever the function raised.
        """
        return await self.finish(self.begin(function, where, seconds, budget))

    def begin(
        self, function: Callable[[], Awaitable[Result]], where: str, seconds: float, budget: Budget
    ) -> Call[Result]:
        """Begins a call that `finish` must be awaited for; for callers who cannot wait where they are.

        Raises:
            OutOfTime: there is nothing left of the budget.
        """
        call: Call[Result] = Call(asyncio.get_running_loop(), where, seconds, budget, self._grace)
        call.start(function)
        return call

    def attempt(
        self, function: Callable[[], Awaitable[Result]], where: str, seconds: float, budget: Budget
    ) -> Result | LentCall[Result]:
        """Runs a call here and now, as far as it comes without waiting; for calls that mostly need not wait.

        Saved is a task with its timer and two turns of the loop. To the call it is all the same: the current task is
        the task it runs in from its beginning to its end.

        Returns:
            The result. Or, where the call has to wait, the call: the current task is then the call's and must end
            with `return await call.rest()`, while another one awaits `finish(call)`.

        Raises:
            OutOfTime: there is nothing left of the budget, or the call took too long.
            Exception: whatever the function raised.
        """
        call: LentCall[Result] = LentCall(asyncio.get_running_loop(), where, seconds, budget, self._grace)
        return call.attempt(self, function)

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
            call.settle()
            if call.abandoned:
                self._let_go(call)
        call.check_time()
        if call.task.cancelled():
            raise RuntimeError(_CANCELLED_ITSELF)
        result: Result = call.task.result()
        return result

    def _culprit_of(self, task: asyncio.Task[Any]) -> Call[Any] | None:
        """The call to charge; another engine's on the same loop is charged by that engine."""
        call = self.at_work or call_of(task)
        return call if call is not None and call.budget.clock is self.clock else None

    def _let_go(self, call: Call[Any]) -> None:
        _LOG.warning("%s ignored its cancellation for %g s and was abandoned", call.where, self._grace)
        self.abandoned.append(call.where)
        # asyncio.run awaits every task at its end and would hang on this one. Closing the coroutine from outside ends
        # it whatever it swallows; the task then finds nothing left to run.
        with contextlib.suppress(RuntimeError):  # "coroutine ignored GeneratorExit"
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


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Keeps asyncio from reporting an exception as lost that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _spent(budget: Budget) -> str:
    return f"the episode's {budget.seconds:g} s were spent"
