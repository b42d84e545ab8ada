"""The mock server itself: an aiohttp low-level server (no routing table, so that a request stays cheap)."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.support.mock_openai.faults import BEFORE_THE_MODEL, HTTP_ERRORS, Fault, FaultRule, first_to_fire, spoil
from tests.support.mock_openai.wire import (
    ChatRequest,
    Completion,
    Reply,
    complete,
    problem_with,
    response_body,
    stream_bodies,
)

Answer = Reply | str
Script = Callable[[ChatRequest], Answer | Awaitable[Answer]] | Sequence[Answer]
"""A function of the request (an async one may wait for whatever a test holds back), or the answers of each session by
turn. A list that runs out answers 400, which no client should retry."""

Latency = float | Callable[[random.Random], float]
"""Seconds between a request's arrival and the first byte of its answer: fixed, or sampled for each request."""


def uniform(low: float, high: float) -> Latency:
    """Latency uniform between two numbers of seconds."""
    return lambda rng: rng.uniform(low, high)


def log_normal(median: float, sigma: float) -> Latency:
    """Latency with a long tail: ``median`` seconds times exp(sigma times a standard normal)."""
    return lambda rng: median * rng.lognormvariate(0.0, sigma)


@dataclass(slots=True)
class Stats:
    """What the server has seen so far."""

    requests: int = 0
    answered: int = 0
    in_flight: int = 0
    in_flight_maximum: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    calls_by_session: Counter[str] = field(default_factory=Counter)
    turns_by_session: Counter[str] = field(default_factory=Counter)


class MockOpenAI:
    """Serves ``POST /v1/chat/completions``, ``GET /v1/models``, ``GET /health``, ``GET /stats`` and ``DELETE /stats``.

    A session is named by the ``X-Session-Id`` header, else by the body's ``user``, else it is ``"default"``.

    ``sleep`` is what waits for the latency, so that a test can put a clock of its own in its place.

    Example:
        async with MockOpenAI(lambda request: request.last_text.upper(), latency=0.1) as server:
            client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")
    """

    def __init__(
        self,
        script: Script,
        *,
        latency: Latency = 0.0,
        faults: Sequence[FaultRule] = (),
        seed: int = 0,
        model: str = "mock",
        keep_requests: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stats = Stats()
        self.requests: list[ChatRequest] = []
        """Every chat request in order of arrival, unless ``keep_requests`` is false."""
        self.model = model
        self._script = script
        self._latency = latency
        self._rules = tuple(faults)
        self._rng = random.Random(seed)
        self._keep_requests = keep_requests
        self._sleep = sleep
        self._closing = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """The URL an OpenAI client is pointed at, ``/v1`` included."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def start(self, port: int = 0) -> None:
        """Listen on the loopback interface; port 0 takes a free one."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, backlog=8192).start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Let held requests go and stop listening."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match (request.method, request.path):
            case ("POST", "/v1/chat/completions"):
                return await self._chat(request)
            case ("GET", "/v1/models"):
                return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})
            case ("GET", "/health"):
                return web.Response()
            case ("GET", "/stats"):
                return web.json_response(self._stats_body())
            case ("DELETE", "/stats"):
                self.stats = Stats(in_flight=self.stats.in_flight, in_flight_maximum=self.stats.in_flight)
                self.requests.clear()
                return web.Response()
            case _:
                return _error(404, "not_found", f"No route {request.method} {request.path}.")

    async def _chat(self, http: web.BaseRequest) -> web.StreamResponse:
        # The counters travel with the request: a DELETE /stats in between must not make them negative.
        stats = self.stats
        stats.in_flight += 1
        stats.in_flight_maximum = max(stats.in_flight_maximum, stats.in_flight)
        try:
            try:
                body = json.loads(await http.content.read())
            except ValueError as error:
                return _error(400, "invalid_json", f"The body is not JSON: {error}.")
            problem = problem_with(body)
            if problem is not None:
                return _error(400, "invalid_request_error", problem)
            session = http.headers.get("X-Session-Id") or body.get("user") or "default"
            call, turn = stats.calls_by_session[session], stats.turns_by_session[session]
            request = ChatRequest(body, http.headers, session, stats.requests, call, turn)
            stats.requests += 1
            stats.calls_by_session[session] += 1
            if self._keep_requests:
                self.requests.append(request)
            return await self._answer(http, request)
        finally:
            stats.in_flight -= 1

    async def _answer(self, http: web.BaseRequest, request: ChatRequest) -> web.StreamResponse:
        rule = first_to_fire(self._rules, request, self._rng)
        fault = rule.fault if rule is not None else None
        if rule is not None and rule.fault in BEFORE_THE_MODEL:
            self.stats.faults[rule.fault] += 1
            return await self._fail(http, rule)

        turns = self._script
        if not callable(turns) and request.turn >= len(turns):
            said = f"The script has {len(turns)} replies; session {request.session!r} asked for one more."
            return _error(400, "script_exhausted", said)
        answer = turns(request) if callable(turns) else turns[request.turn]
        if inspect.isawaitable(answer):
            answer = await answer
        reply = Reply(answer) if isinstance(answer, str) else answer
        latency = reply.latency if reply.latency is not None else self._latency
        seconds = latency(self._rng) if callable(latency) else latency
        if seconds > 0:
            await self._sleep(seconds)

        completion = complete(reply, request)
        spoilt = spoil(fault, completion, request) if fault is not None else None
        if fault is not None and spoilt is not None:
            self.stats.faults[fault] += 1
            completion = spoilt
        self.stats.answered += 1
        if fault not in (Fault.STREAM_CUT, Fault.MALFORMED_JSON):  # an answer that cannot be read is no turn
            self.stats.turns_by_session[request.session] += 1
        if request.body.get("stream"):
            return await _stream(http, request, completion, fault)
        return await _whole(http, request, completion, fault)

    async def _fail(self, http: web.BaseRequest, rule: FaultRule) -> web.StreamResponse:
        """Fail before the model is asked."""
        match rule.fault:
            case Fault.CONNECTION_CUT:
                _abort(http)
                return web.Response()
            case Fault.NEVER_ANSWERS:
                await self._closing.wait()
                _abort(http)
                return web.Response()
            case Fault.WRONG_CONTENT_TYPE:
                page = "<html><body><h1>Bad gateway</h1></body></html>"
                return web.Response(text=page, content_type="text/html")
            case _:
                status, code, message = HTTP_ERRORS[rule.fault]
                response = _error(status, code, message)
                if rule.fault is Fault.RATE_LIMITED_RETRY_AFTER:
                    response.headers["Retry-After"] = f"{rule.retry_after:g}"
                return response

    def _stats_body(self) -> dict[str, object]:
        stats = self.stats
        return {
            "requests": stats.requests,
            "answered": stats.answered,
            "in_flight": stats.in_flight,
            "in_flight_maximum": stats.in_flight_maximum,
            "sessions": len(stats.calls_by_session),
            "faults": dict(stats.faults),
        }


async def _whole(
    http: web.BaseRequest, request: ChatRequest, completion: Completion, fault: Fault | None
) -> web.StreamResponse:
    body = json.dumps(response_body(request, completion), separators=(",", ":")).encode()
    if fault is Fault.MALFORMED_JSON:
        body = body[: len(body) // 2]
    if fault is not Fault.STREAM_CUT:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(http)
    await response.write(body[: len(body) // 2])
    _abort(http)
    return response


async def _stream(
    http: web.BaseRequest, request: ChatRequest, completion: Completion, fault: Fault | None
) -> web.StreamResponse:
    chunks = [json.dumps(chunk, separators=(",", ":")) for chunk in stream_bodies(request, completion)]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(http)
    middle = len(chunks) // 2
    for position, chunk in enumerate(chunks):
        if position == middle and fault is Fault.STREAM_CUT:
            _abort(http)
            return response
        if position == middle and fault is Fault.MALFORMED_JSON:
            chunk = chunk[: len(chunk) // 2]
        await response.write(f"data: {chunk}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _abort(http: web.BaseRequest) -> None:
    if http.transport is not None:
        http.transport.abort()


def _error(status: int, code: str, message: str) -> web.Response:
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return web.json_response(body, status=status)
