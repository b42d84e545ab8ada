"""A standing pool: at most so many jobs alive, a finished one replaced at once, results in order of completion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")

_BURST = 16
"""Requests drawn from a synchronous iterable before the loop gets its turn. A thousand at once would move through every
step side by side: the first model call would wait for the thousandth reset, and each later one for the whole crowd."""


class Slot:
    """One place in the pool. Releasing it twice is harmless."""

    __slots__ = ("_semaphore",)

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore

    def release(self) -> None:
        if self._semaphore is not None:
            self._semaphore.release()
            self._semaphore = None


class Pool(Generic[Request, Result]):
    """Runs jobs for requests; several runs share the places, first come first served.

    Args:
        size: how many jobs may hold a slot at a time.
        job: does the work of one request. It may release its slot early, before it is done with the rest. `None`
            means that there is nothing to hand on.
        admit: answers a request without a slot, or says `None` when it needs one; by default all do.
    """

    def __init__(
        self,
        size: int,
        job: Callable[[Request, Slot], Awaitable[Result | None]],
        admit: Callable[[Request], Awaitable[Result | None]] | None = None,
    ) -> None:
        self.slots = asyncio.Semaphore(size)
        self.job = job
        self.admit = admit
        self._runs: set[_Run[Request, Result]] = set()

    async def run(self, requests: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Result, None]:
        """Yields results as they come. Leaving the iteration, in whatever way, cancels its jobs and waits for them.

        Requests are drawn lazily, one ahead of the free slots. Results that nobody has fetched yet do not hold the
        pool up; whoever wants to slow it down supplies requests more slowly.
        """
        run = _Run(self, requests)
        self._runs.add(run)
        try:
            while True:
                answer = await run.answers.get()
                if answer is None:
                    return
                if isinstance(answer, _Problem):
                    raise answer.error
                yield answer
        finally:
            await run.stop()
            self._runs.discard(run)

    async def stop(self) -> None:
        """Cancels every run and waits until its jobs have ended."""
        for run in list(self._runs):
            await run.stop()


class _Problem:
    """A mistake or a bug, not an episode's failure: it ends the run."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Run(Generic[Request, Result]):
    def __init__(self, pool: Pool[Request, Result], requests: Iterable[Request] | AsyncIterable[Request]) -> None:
        self.answers: asyncio.Queue[Result | _Problem | None] = asyncio.Queue()
        self._pool = pool
        self._jobs: set[asyncio.Task[None]] = set()
        self._feeder = asyncio.create_task(self._feed(requests), name="agentenv-rollout-feeder")

    async def stop(self) -> None:
        tasks = {self._feeder, *self._jobs}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.answers.put_nowait(None)

    async def _feed(self, requests: Iterable[Request] | AsyncIterable[Request]) -> None:
        try:
            async for request in _each(requests):
                answer = None if self._pool.admit is None else await self._pool.admit(request)
                if answer is not None:
                    self.answers.put_nowait(answer)
                    continue
                await self._pool.slots.acquire()
                slot = Slot(self._pool.slots)
                job = asyncio.create_task(self._work(request, slot), name="agentenv-rollout-job")
                self._jobs.add(job)
                job.add_done_callback(lambda job, slot=slot: self._on_done(job, slot))  # type: ignore[misc]
        except Exception as error:
            self.answers.put_nowait(_Problem(error))
        self._feeding = False
        self._end_if_done()

    _feeding = True

    async def _work(self, request: Request, slot: Slot) -> None:
        try:
            answer = await self._pool.job(request, slot)
        except Exception as error:
            self.answers.put_nowait(_Problem(error))
        else:
            if answer is not None:
                self.answers.put_nowait(answer)

    def _on_done(self, job: asyncio.Task[None], slot: Slot) -> None:
        slot.release()
        self._jobs.discard(job)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._feeding and not self._jobs:
            self.answers.put_nowait(None)


async def _each(requests: Iterable[Request] | AsyncIterable[Request]) -> AsyncIterator[Request]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
        return
    for number, request in enumerate(requests, start=1):
        yield request
        if number % _BURST == 0:
            await asyncio.sleep(0)
