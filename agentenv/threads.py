"""Where blocking code goes, so that the event loop never waits for it.

`asyncio.to_thread` shares one small pool whose threads are joined at exit: a single hanging tool would first starve
every other episode and then keep the process from ending. The threads here are daemons, and one that hangs in a
call that was given up no longer counts against the pool.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

IDLE_SECONDS = 10.0
"""How long a thread without work waits before it ends."""


@dataclass(slots=True, eq=False)
class _Job:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    function: Callable[[], Any]
    running: bool = False
    abandoned: bool = False


class DaemonThreads:
    """A pool that grows with demand up to `limit` busy threads; further calls wait their turn, first come first."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._waiting: collections.deque[_Job] = collections.deque()
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._calm = threading.Condition(lock)
        self._running = 0
        self._idle = 0
        self._threads = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        """Runs `function` in a thread and returns its result. Cancelling gives the thread up; it cannot be killed."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        job = _Job(loop, loop.create_future(), lambda: context.run(function))
        with self._changed:
            self._waiting.append(job)
            self._staff()
        try:
            return await job.future
        except asyncio.CancelledError:
            self._give_up(job)
            raise

    def wait_until_idle(self, seconds: float) -> bool:
        """Blocks until no call runs, given up or not, for at most so long; whether it came to that.

        Python ends under its daemon threads, and one inside a native library such as torch then aborts the process.
        """
        with self._changed:
            return self._calm.wait_for(lambda: not self._running, timeout=seconds)

    def _staff(self) -> None:
        """Wakes an idle thread for the newest job, or starts one. The caller holds the lock."""
        if self._idle >= len(self._waiting):
            self._changed.notify()
        elif self._threads < self._limit:
            self._threads += 1
            threading.Thread(target=self._work, name="agentenv-worker", daemon=True).start()

    def _give_up(self, job: _Job) -> None:
        with self._changed:
            if job.running:
                job.abandoned = True
                self._threads -= 1
                if self._waiting:
                    self._staff()
            elif job in self._waiting:
                self._waiting.remove(job)

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            result, error = None, None
            try:
                result = job.function()
            except BaseException as raised:  # a thread must hand over even SystemExit instead of dying with it
                error = raised if isinstance(raised, Exception) else RuntimeError(f"raised {raised!r}")
            with self._changed:
                job.running = False
                self._running -= 1
                self._calm.notify_all()
                if job.abandoned:
                    return
            _settle(job, result, error)

    def _next_job(self) -> _Job | None:
        with self._changed:
            self._idle += 1
            found = self._changed.wait_for(lambda: bool(self._waiting), timeout=IDLE_SECONDS)
            self._idle -= 1
            if not found:
                self._threads -= 1
                return None
            job = self._waiting.popleft()
            job.running = True
            self._running += 1
            return job


def _settle(job: _Job, result: Any, error: Exception | None) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)


THREADS = DaemonThreads()
"""The process's pool for blocking environments, tools and reward functions."""


async def call_maybe_blocking(function: Callable[..., Any], arguments: Mapping[str, Any], *, inline: bool) -> Any:
    """Calls `function(**arguments)`: awaited when it is async, in a thread when it is not, directly when `inline`."""
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    result = function(**arguments) if inline else await THREADS.run(lambda: function(**arguments))
    return await result if inspect.isawaitable(result) else result
