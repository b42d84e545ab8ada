"""How many requests may be in flight: no limit until the endpoint says 429, then additive increase and halving.

The control is TCP's congestion avoidance (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for
Congestion Avoidance in Computer Networks", 1989): it finds the endpoint's capacity without being told, and shares it
fairly with other clients that do the same.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from typing import Self


class Permit:
    """The right to have one request in flight, from the beginning of its `async with` block to the end.

    Say `rejected()` on a 429 and `succeeded()` on an answer.
    """

    __slots__ = ("_generation", "_limiter", "_ticket")

    def __init__(self, limiter: AdaptiveLimiter, ticket: int) -> None:
        self._limiter = limiter
        self._ticket = ticket

    async def __aenter__(self) -> Self:
        await self._limiter._enter(self._ticket)
        self._generation = self._limiter._generation
        return self

    async def __aexit__(self, *_: object) -> None:
        self._limiter._leave()

    def succeeded(self) -> None:
        self._limiter._grow()

    def rejected(self) -> None:
        self._limiter._shrink(self._generation)


class AdaptiveLimiter:
    """Admits requests oldest ticket first.

    The limit is halved by a rejection, but at most once per round trip: requests that were already in flight at the
    last halving say nothing about the new limit. It grows by one for every full window of successes.

    Args:
        maximum: never more than this many in flight, 429 or not; `None` for no such bound.

    >>> limiter = AdaptiveLimiter()
    >>> async with limiter.permit(limiter.ticket()) as permit:  # doctest: +SKIP
    ...     permit.succeeded()
    """

    def __init__(self, maximum: int | None = None) -> None:
        self._maximum = math.inf if maximum is None else float(maximum)
        self._limit = self._maximum
        self._generation = 0
        self._tickets = itertools.count()
        self._queue: list[tuple[int, asyncio.Future[None]]] = []
        self.in_flight = 0
        self.in_flight_maximum = 0

    @property
    def limit(self) -> int | None:
        """How many requests may be in flight now; `None` as long as there is no limit."""
        return None if math.isinf(self._limit) else int(self._limit)

    @property
    def waiting(self) -> int:
        """Requests that wait to be admitted."""
        return sum(not future.done() for _, future in self._queue)

    def ticket(self) -> int:
        """A place in the queue. A request that is tried again keeps its ticket, and so goes before younger ones."""
        return next(self._tickets)

    def permit(self, ticket: int) -> Permit:
        """Waits for room; the room is given back at the end of the block, also after an error or cancellation."""
        return Permit(self, ticket)

    async def _enter(self, ticket: int) -> None:
        if self._queue or self.in_flight >= self._room():
            await self._wait(ticket)
        else:
            self._admit()

    def _leave(self) -> None:
        self.in_flight -= 1
        self._wake()

    def _room(self) -> float:
        return max(1.0, math.floor(self._limit)) if not math.isinf(self._limit) else math.inf

    def _admit(self) -> None:
        self.in_flight += 1
        self.in_flight_maximum = max(self.in_flight_maximum, self.in_flight)

    async def _wait(self, ticket: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (ticket, future))
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # admitted and cancelled in the same round of the loop
                self._leave()
            raise

    def _wake(self) -> None:
        while self._queue and self.in_flight < self._room():
            _, future = heapq.heappop(self._queue)
            if not future.done():
                self._admit()  # on behalf of the waiter, so that nobody slips in before it runs
                future.set_result(None)

    def _grow(self) -> None:
        if not math.isinf(self._limit) and self.in_flight >= self._room():  # unused room proves nothing
            self._limit = min(self._limit + 1 / self._limit, self._maximum)
            self._wake()

    def _shrink(self, generation: int) -> None:
        if generation == self._generation:
            self._generation += 1
            self._limit = max(1.0, min(self._limit, self.in_flight) / 2)
