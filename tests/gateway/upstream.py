"""An upstream whose every byte a test decides, for what no well-kept server would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Handler = Callable[["Upstream", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def answer(text: str = "four", ids: Sequence[int] = (7, 8), *, prompt: Sequence[int] = (1, 2, 3)) -> dict[str, Any]:
    """A chat completion as vLLM sends it, token record included."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [choice(text, ids)],
        "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(ids), "total_tokens": len(prompt) + len(ids)},
        "prompt_token_ids": list(prompt),
    }


def choice(text: str, ids: Sequence[int], index: int = 0) -> dict[str, Any]:
    """One choice of a chat completion."""
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": {"content": [logprob(-0.5) for _ in ids]},
        "finish_reason": "stop",
        "token_ids": list(ids),
    }


def logprob(value: float) -> dict[str, Any]:
    return {"token": "x", "logprob": value, "bytes": [120], "top_logprobs": []}


def chunks(text: str, ids: Sequence[int], *, prompt: Sequence[int] = (1, 2, 3)) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, one character and one token each, and the counts at the end."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    found: list[dict[str, Any]] = [{**head, "choices": [opening], "prompt_token_ids": list(prompt)}]
    for position, (letter, token) in enumerate(zip(text, ids, strict=True)):
        piece = {
            "index": 0,
            "delta": {"content": letter},
            "logprobs": {"content": [logprob(-0.25)]},
            "finish_reason": "stop" if position == len(ids) - 1 else None,
            "token_ids": [token],
        }
        found.append({**head, "choices": [piece]})
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids), "total_tokens": len(prompt) + len(ids)}
    return [*found, {**head, "choices": [], "usage": usage}]


def sse(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


class Upstream:
    """Answers every POST by a function of the test.

    Attributes:
        bodies: what was asked, in order. gone: set when a client has left before its answer was complete.
        health: the status of /health. weight_version: what /weight_info says; `None` for no such route.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.gone = asyncio.Event()
        self.routes: dict[str, Handler] = {}
        self.health = 200
        self.weight_version: str | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/health", self._health)
        app.router.add_get("/weight_info", self._weight_info)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def kill(self) -> None:
        """Dies as a process does: open connections are reset, new ones refused."""
        assert self._runner is not None
        assert self._runner.server is not None
        for site in list(self._runner.sites):
            await site.stop()
        for connection in self._runner.server.connections:
            transport = connection.transport
            if transport is not None:
                transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.health)

    async def _weight_info(self, request: web.Request) -> web.Response:
        if self.weight_version is None:
            raise web.HTTPNotFound
        return web.json_response({"weight_version": self.weight_version})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.path in self.routes:
            return await self.routes[request.path](self, request, body)
        if request.path not in ("/v1/chat/completions", "/v1/completions"):
            return web.json_response({"error": {"message": "no such route"}}, status=404)
        self.bodies.append(body)
        self.paths.append(request.path)
        try:
            return await self.handler(self, request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise


def always(*replies: Any, status: int = 200) -> Handler:
    """Answers with these bodies in turn, the last one for ever."""
    left = list(replies)

    async def handle(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, bytes):
            return web.Response(body=reply, status=status, content_type="application/json")
        return web.json_response(reply, status=status)

    return handle


def streaming(events: Sequence[Any], *, cut: bool = False, gate: asyncio.Event | None = None) -> Handler:
    """Streams these events. `cut` resets the connection after the last; `gate` is awaited after the second."""

    async def handle(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for position, event in enumerate(events):
            await response.write(sse(event))
            if gate is not None and position == 1:
                await gate.wait()
        if cut:
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write_eof()
        return response

    return handle
