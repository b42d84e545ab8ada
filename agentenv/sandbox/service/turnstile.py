"""How many executions run at a time, how many wait for their turn, and who is sent away at once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
from collections.abc import AsyncIterator

from agentenv.sandbox.service.refusals import AtCapacity

_LONGEST_ADVICE = 30
_MEMORY = 0.1
"""How much the last execution weighs in the mean that the advice to come again is made of."""


class Turnstile:
    """Lets so many through at a time, first come first; a bounded number may wait.

    Args:
        most_running: at a time. most_queued: how many may wait. patience: seconds one waits at most.
    """

    def __init__(self, most_running: int, most_queued: int, patience: float) -> None:
        self._most_running, self._most_queued, self._patience = most_running, most_queued, patience
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._mean_seconds = 0.0
        self.running = 0
        self.refused = 0

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The block runs when it is its turn.

        Raises:
            AtCapacity: too many wait already, or this one has waited for too long.
        """
        await self._enter()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self._mean_seconds += _MEMORY * (loop.time() - began - self._mean_seconds)
            self._pass_on()

    def full(self, message: str) -> AtCapacity:
        """The refusal of whoever cannot be served now."""
        self.refused += 1
        expected = self._mean_seconds * (self.queued + 1) / self._most_running
        retry_after = math.ceil(min(max(expected, 1.0), _LONGEST_ADVICE))
        return AtCapacity(message, queued=self.queued, running=self.running, retry_after=retry_after)

    async def _enter(self) -> None:
        if self.running < self._most_running:
            self.running += 1
            return
        if len(self._waiting) >= self._most_queued:
            raise self.full(f"{self.running} executions run and {self.queued} wait, and no more may")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._patience):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():  # it was its turn at the very moment it gave up
                self._pass_on()
            elif place in self._waiting:  # otherwise it was passed over already
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise self.full(f"it was not this execution's turn in {self._patience:g} s") from None
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # whoever gave up a moment ago has not left the queue yet
                place.set_result(None)
                return
        self.running -= 1
