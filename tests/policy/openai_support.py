"""What the tests of the OpenAI-compatible policy share: a clock that only pauses move, and a bare endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from agentenv.messages import Message, user
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.tools import ToolSpec
from agentenv_openai import OpenAIPolicy, Retry

HELLO = (user("hello"),)
TOKENS = Sampling(temperature=1.0, tokens=True)


class Clock:
    """Time that passes only while somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def retry(self, **changes: Any) -> Retry:
        return Retry(sleep=self.sleep, clock=lambda: self.now, **changes)


async def ask(
    policy: OpenAIPolicy,
    messages: Sequence[Message] = HELLO,
    tools: Sequence[ToolSpec] = (),
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    session: str = "s",
) -> Completion:
    return await policy.complete(messages, tools, sampling, Session(session, 0))


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def endpoint(chat: Handler, models: Sequence[str] = ("m",)) -> AsyncIterator[str]:
    """The base URL of a server whose chat route is `chat`."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": name} for name in models]})
        return await chat(request)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def completion_body(message: Any = None, **choice: Any) -> dict[str, Any]:
    """A chat completion with the given assistant message and further fields of its choice."""
    wire = {"role": "assistant", "content": "hi"} if message is None else message
    return {"model": "m", "choices": [{"index": 0, "message": wire, "finish_reason": "stop", **choice}]}


def always(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return handle
