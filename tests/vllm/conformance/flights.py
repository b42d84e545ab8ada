"""Requests that are known to be in flight: their first token has come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.vllm.conformance.cases import COMPLETIONS, GENERATE, MODEL, PROMPT
from tests.vllm.conformance.client import Client, Json, Reply

Result = TypeVar("Result")

MANY = 450
"""Tokens of a long answer: half a second, while what is done to it takes milliseconds."""

LONG: Json = {
    "model": MODEL,
    "prompt": PROMPT,
    "max_tokens": MANY,
    "temperature": 0,
    "ignore_eos": True,
    "return_token_ids": True,
    "logprobs": 0,
}
SHORT: Json = {**LONG, "max_tokens": 2}
LONG_BY_TOKEN: Json = {
    "token_ids": PROMPT,
    "sampling_params": {"max_tokens": MANY, "temperature": 0, "ignore_eos": True, "logprobs": 0},
}

MOMENT = 0.2
"""Long enough for a short answer, had it been sampled."""


class Flight:
    """A stream whose first token has been read when the context is entered. `events` grows by itself."""

    def __init__(self, client: Client, path: str = COMPLETIONS, body: Json = LONG) -> None:
        self._client, self._path, self._body = client, path, body
        self._begun = asyncio.Event()
        self.events: list[Any] = []

    @classmethod
    def by_token(cls, client: Client) -> Flight:
        """Of the route that tells weight versions."""
        return cls(client, GENERATE, LONG_BY_TOKEN)

    @property
    def token_ids(self) -> list[int]:
        chunks = [event for event in self.events if isinstance(event, dict)]
        return [token for chunk in chunks for choice in chunk["choices"] for token in choice["token_ids"] or ()]

    def was_cut(self, last: Json) -> bool:
        """Whether what was done to the flight found it in the air: on a busy machine it may have landed before."""
        return len(self.token_ids) < MANY or len(last.get("weight_versions") or ()) > 1

    async def ended(self) -> None:
        """Returns when the stream has ended, however it did."""
        await asyncio.wait([self._task])

    async def last_choice(self) -> Json:
        """The choice of the last chunk, when the stream has ended."""
        await self._task
        assert self.events[-1] == "[DONE]"
        choice: Json = self.events[-2]["choices"][0]
        return choice

    async def _fly(self) -> None:
        async with self._client.stream(self._path, self._body) as events:
            async for event in events:
                self.events.append(event)
                self._begun.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._fly())
        async with asyncio.timeout(60):
            await self._begun.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def is_waiting(task: asyncio.Task[Reply]) -> bool:
    """Whether a request that would take milliseconds is still without an answer after a moment."""
    await asyncio.wait([task], timeout=MOMENT)
    return not task.done()


Scenario = Callable[[], Awaitable[Result | None]]


async def caught(scenario: Scenario[Result], attempts: int = 100) -> Result:
    """The result of a scenario that gives None when its flight had landed before it could be caught."""
    for _ in range(attempts):
        result = await scenario()
        if result is not None:
            return result
    raise AssertionError(f"in {attempts} attempts every answer was whole before it could be caught")
