"""Deadlines for calls to code that is not ours: none awaited for ever, none in a task that others depend on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agentenv.rollout.budget import Budget
from agentenv.rollout.calls import CANCELLED_ITSELF, Call, call_of
from agentenv.rollout.lag import LoopMonitor
from agentenv.rollout.lent import LentCall

Result = TypeVar("Result")

_LOG = logging.getLogger("agentenv.rollout")


class Limits:
    """Runs calls under deadlines on one event loop, and keeps account of those that would not stop.

    Work of many parts is supervised; a single part is called, or begun and finished where the caller cannot wait, or
    attempted where it mostly need not wait. To the code that is called it is all the same: the task it runs in is its
    own from beginning to end, with its own context and a clock that forgives what others did to the loop.

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
        return await self.finish(self._start(work, where, budget))

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
        return self._start(lambda call: call.part(function, where, seconds), where, budget)

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
        call: LentCall[Result] = LentCall(asyncio.get_running_loop(), where, budget, self._grace)
        return call.attempt(function, seconds)

    async def finish(self, call: Call[Result]) -> Result:
        """Awaits a call that was begun. Cancelling this is as with `supervise`, and what it raises as with `call`."""
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
            raise RuntimeError(CANCELLED_ITSELF)
        result: Result = call.task.result()
        return result

    def _start(self, work: Callable[[Call[Result]], Awaitable[Result]], where: str, budget: Budget) -> Call[Result]:
        call: Call[Result] = Call(asyncio.get_running_loop(), where, budget, self._grace)
        call.start(work)
        return call

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
