"""The stage: an event loop in a thread of its own, where the audited environment plays.

An environment may hold its loop for three seconds or for ever. Here that is seen from outside: the auditor's own
loop stays free, times every stretch of the environment's code, looks up which line it is in, and walks away from a
stage that does not come back.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from agentenv.check.measure import QueueClock, place
from agentenv.errors import AgentenvError
from agentenv.threads import THREADS

Result = TypeVar("Result")
SAMPLE_SECONDS = 0.01
BURY_SECONDS = 5.0


class StalledError(AgentenvError):
    """The stage's loop was held too long, or its program took too long, and the stage was abandoned."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One stretch during which the loop could do nothing else: how long, and in which line.

    Time that the thread waited for a processor is taken out, so that a busy machine accuses nobody.
    """

    seconds: float = 0.0
    where: str = ""


class Stage:
    """One loop in one daemon thread.

    Args:
        sources: files whose lines are blamed first when the loop is held.
    """

    def __init__(self, sources: frozenset[str] = frozenset()) -> None:
        self.sources = sources
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(self._make_task)
        self.loop.set_exception_handler(lambda _loop, _context: None)  # what is left behind is not worth a traceback
        self._driving = False
        self._started: float | None = None
        self._queued = 0.0
        self._seen = ""
        self._longest = Hold()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="agentenv-check-stage", daemon=True)
        self._thread.start()
        threading.Thread(target=self._sample, name="agentenv-check-sampler", daemon=True).start()

    async def run(
        self, program: Callable[[], Coroutine[Any, Any, Result]], *, stall_seconds: float, seconds: float
    ) -> Result:
        """Runs `program()` on the stage and returns its result.

        Raises:
            StalledError: one stretch of the environment's code held the loop for `stall_seconds`, or the whole took
                `seconds`; the stage is abandoned and must not be used again.
        """
        outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self._begin, program, outcome)
        waiting = asyncio.wrap_future(outcome)
        deadline = time.monotonic() + seconds
        while True:
            try:
                done, _ = await asyncio.wait({waiting}, timeout=0.1)
            except asyncio.CancelledError:
                waiting.cancel()
                raise
            if done:
                return waiting.result()
            started = self._started
            held = 0.0 if started is None else time.perf_counter() - started
            if held >= stall_seconds or time.monotonic() > deadline:
                waiting.cancel()
                where = self._where()
                self.abandon()
                what = f"held the event loop for {held:.1f} s" if held >= stall_seconds else "ran out of time"
                raise StalledError(f"{what} at {where}")

    @property
    def abandoned(self) -> bool:
        return self._over.is_set()

    def take_longest(self) -> Hold:
        """The longest hold since the last call of this."""
        longest, self._longest = self._longest, Hold()
        return longest

    def abandon(self) -> None:
        """Leaves the thread to itself. It ends at its next line of Python, or when the process does."""
        self._over.set()
        if self._thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(SystemExit))

    async def stop(self) -> None:
        """Cancels what still runs, and ends the loop; gives up on a thread that does not end in two seconds."""
        if self._over.is_set():
            return
        self._over.set()
        self.loop.call_soon_threadsafe(self._wind_up)
        await THREADS.run(lambda: self._thread.join(2.0))

    def _wind_up(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.call_later(0.01, self.loop.stop)

    def _live(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._queue = QueueClock()
        try:
            self.loop.run_forever()
        except SystemExit:  # how `abandon` ends it, once the environment's code lets go
            self._bury()
        with contextlib.suppress(Exception):
            self.loop.close()
        self._queue.close()

    def _bury(self) -> None:
        """Unwinds what was playing when the stage was abandoned, so that nothing is collected half-way through."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        with contextlib.suppress(Exception, SystemExit):
            self.loop.run_until_complete(asyncio.wait(left, timeout=BURY_SECONDS))

    def _begin(self, program: Callable[[], Coroutine[Any, Any, Any]], outcome: concurrent.futures.Future[Any]) -> None:
        self._driving = True
        try:
            task = self.loop.create_task(program())
        finally:
            self._driving = False

        def settle(done: asyncio.Task[Any]) -> None:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                if done.cancelled():
                    outcome.cancel()
                elif (error := done.exception()) is not None:
                    outcome.set_exception(error)
                else:
                    outcome.set_result(done.result())

        task.add_done_callback(settle)
        outcome.add_done_callback(
            lambda future: self._call_soon(task.cancel) if future.cancelled() and not task.done() else None
        )

    def _call_soon(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(function)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """Every task but the auditor's own is timed, those the environment starts included."""
        measured = coroutine if self._driving else _Timed(coroutine, self)
        return asyncio.Task(measured, loop=loop, **options)

    def enter(self) -> None:
        self._seen = ""
        self._queued = self._queue.seconds()
        self._started = time.perf_counter()

    def leave(self) -> None:
        started, self._started = self._started, None  # first, so that the sampler never blames the bookkeeping
        if started is None:
            return
        seconds = time.perf_counter() - started - (self._queue.seconds() - self._queued)
        if seconds > self._longest.seconds:
            self._longest = Hold(seconds, self._seen)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            started = self._started
            if started is not None and time.perf_counter() - started > SAMPLE_SECONDS:
                where = self._where()
                if self._started == started:
                    self._seen = where

    def _where(self) -> str:
        return place(sys._current_frames().get(self._thread.ident or 0), self.sources)


class _Timed(Coroutine[Any, Any, Any]):
    """A coroutine whose every stretch on the loop is timed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], stage: Stage) -> None:
        self._inner = inner
        self._stage = stage

    def send(self, value: Any) -> Any:
        self._stage.enter()
        try:
            return self._inner.send(value)
        finally:
            self._stage.leave()

    def throw(self, *details: Any) -> Any:
        self._stage.enter()
        try:
            return self._inner.throw(*details)
        finally:
            self._stage.leave()

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
