"""The HTTP routes, and what holds for all of them: who may ask, how much, and how an error looks."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from agentenv.addresses import strange_page
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.jsontext import decode
from agentenv.gateway.environments.openapi import openapi_document
from agentenv.gateway.environments.operations import Operation, Operations
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.rollouts import Rollouts
from agentenv.gateway.environments.session import Reply
from agentenv.gateway.environments.socket import EnvironmentSocket
from agentenv.messages import Wire

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOG = logging.getLogger("agentenv.gateway")
_SOCKETS: web.AppKey[set[EnvironmentSocket]] = web.AppKey("sockets")


def routes(app: web.Application, operations: Operations, rollouts: Rollouts, config: ServerConfig) -> None:
    """Adds everything an environment server answers."""
    made = _Routes(operations, rollouts, config)
    app[_SOCKETS] = set()
    app.on_shutdown.append(_close_sockets)
    app.middlewares.append(made.guard)
    session = "/sessions/{session}"
    app.add_routes(
        [
            web.get("/", made.plain(Operation.SERVER)),
            web.get("/health", _health),
            web.get("/openapi.json", _openapi),
            web.get("/tasks", made.plain(Operation.TASKS)),
            web.post("/sessions", made.create),
            web.get(session, made.plain(Operation.VIEW)),
            web.delete(session, made.plain(Operation.CLOSE)),
            web.post(f"{session}/step", made.step),
            web.post(f"{session}/heartbeat", made.heartbeat),
            web.post("/rollout", made.rollout),
            web.get("/socket", made.socket),
        ]
    )


class _Routes:
    def __init__(self, operations: Operations, rollouts: Rollouts, config: ServerConfig) -> None:
        self._operations = operations
        self._rollouts = rollouts
        self._config = config
        key = config.api_key
        self._credentials = None if key is None else f"Bearer {key.get_secret_value()}".encode()

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in who may come in, and gives every error the shape of this server's."""
        try:
            self._admit(request)
            return await handler(request)
        except Refusal as error:
            return to_response(self._operations.refuse(error, dict(request.match_info)))
        except web.HTTPRequestEntityTooLarge:
            problem = f"a request may have {self._config.max_body} bytes (--max-body)"
            return to_response(self._operations.refuse(Refusal(Code.TOO_LARGE, problem), dict(request.match_info)))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            problem = f"{request.method} {request.path}: {error.reason}; see /openapi.json"
            return to_response(self._operations.refuse(Refusal(Code.NOT_FOUND, problem), {}), error.status)
        except Exception as error:
            _LOG.exception("a request failed: %s %s", request.method, request.path)
            problem = f"{type(error).__name__}: {error}"
            return to_response(self._operations.refuse(Refusal(Code.INTERNAL, problem), {}))

    def plain(self, operation: Operation) -> Handler:
        """A route whose whole request is in its URL."""

        async def handle(request: web.Request) -> web.Response:
            wire: Wire = {**request.query, **request.match_info}
            return to_response(await self._operations.perform(operation, wire))

        return handle

    async def create(self, request: web.Request) -> web.Response:
        return to_response(await self._operations.perform(Operation.CREATE, await self._body(request)), 201)

    async def step(self, request: web.Request) -> web.Response:
        wire = {**await self._body(request), **request.match_info}
        answer = self._operations.step(wire)
        if isinstance(answer, Reply):
            return to_response(answer)
        session = self._operations.sessions.find(wire["session"])
        session.held += 1
        try:
            return to_response(await asyncio.shield(answer.reply))
        finally:
            session.held -= 1
            session.expires_at = self._operations.sessions.lease_end()

    async def heartbeat(self, request: web.Request) -> web.Response:
        """Of one session; whether it is still open is what its client wants to know."""
        session = request.match_info["session"]
        wire = {**await self._body(request), "session": session}
        self._operations.sessions.find(session)
        reply = await self._operations.perform(Operation.HEARTBEAT, {**wire, "sessions": [session]})
        return to_response(reply)

    async def rollout(self, request: web.Request) -> web.StreamResponse:
        return await self._rollouts.serve(request, await self._body(request))

    async def socket(self, request: web.Request) -> web.StreamResponse:
        socket = EnvironmentSocket(self._operations, self._config.max_body)
        request.app[_SOCKETS].add(socket)
        try:
            return await socket.serve(request)
        finally:
            request.app[_SOCKETS].discard(socket)

    async def _body(self, request: web.Request) -> Wire:
        try:
            async with asyncio.timeout(self._config.request_timeout):
                raw = await request.read()
        except TimeoutError:
            problem = f"the body did not arrive in {self._config.request_timeout:g} s"
            raise Refusal(Code.MALFORMED, problem) from None
        return decode(raw) if raw else {}

    def _admit(self, request: web.Request) -> None:
        if request.path == "/health":
            return
        stranger = strange_page(self._config.host, request.host, request.headers.get("Origin"))
        if stranger is not None:
            raise Refusal(Code.FOREIGN_ORIGIN, stranger)
        given = request.headers.get("Authorization", "").encode()
        if self._credentials is not None and not hmac.compare_digest(given, self._credentials):
            raise Refusal(Code.UNAUTHORIZED, "this server wants its API key: Authorization: Bearer KEY")


def to_response(reply: Reply, status: int = 200) -> web.Response:
    """A reply as HTTP gives it."""
    if reply.code is not None and status < 400:
        status = reply.code.http_status
    return web.Response(body=reply.text, status=status, content_type="application/json")


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _openapi(_: web.Request) -> web.Response:
    return web.json_response(openapi_document())


async def _close_sockets(app: web.Application) -> None:
    await asyncio.gather(*(socket.close() for socket in app[_SOCKETS]), return_exceptions=True)
