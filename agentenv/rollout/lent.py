"""Calls that run in their caller's task, and keep it only where they have to wait."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

from agentenv.rollout.calls import Call

Result = TypeVar("Result")


class LentCall(Call[Result]):
    """A call of one part that runs in its caller's task. The caller parts with the task when the call has to wait.

    The part is a coroutine that is advanced by hand: in the call's own context, and with the loop's monitor told whose
    it is, both of which the task would not know.
    """

    __slots__ = ("_awaited", "_context", "_coroutine")

    _awaited: Any
    _context: contextvars.Context
    _coroutine: Coroutine[Any, Any, Any]

    def attempt(self, function: Callable[[], Awaitable[Result]], seconds: float) -> Result | LentCall[Result]:
        """Runs the call as far as it comes without waiting: see `Limits.attempt`."""
        task = self._current_task()
        self._begin(self.where, seconds)
        self._context = self._own_context()
        self._coroutine = self._await(function)
        try:
            self._awaited = self._advance(self._coroutine.send, None)
        except StopIteration as end:
            result: Result = end.value
            return result
        self.over = self._loop.create_future()
        self._belong(task, self._context)
        self._wake_in(self._deadline - self.budget.now())
        return self

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
                    result: Result = end.value
                    return result
        finally:
            self._say_over()

    def _advance(self, resume: Callable[..., Any], *arguments: Any) -> Any:
        monitor = self.budget.clock
        monitor.at_work = self
        try:
            return self._context.run(resume, *arguments)
        except BaseException:  # it has ended, if only with StopIteration
            del self._context  # it knows this call, and the two would keep each other
            raise
        finally:
            monitor.at_work = None
