"""The gateway as an HTTP server: routes, keys, limits. A table of its own instead of a framework's router, because
session ids may hold what a path pattern would trip over, and because it runs on every call."""

from __future__ import annotations

import hmac
import logging
import urllib.parse
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from agentenv.errors import AgentenvError
from agentenv.gateway.calling import SESSION_HEADER, Caller
from agentenv.gateway.config import GatewayConfig
from agentenv.gateway.connections import words_of
from agentenv.gateway.dialects import DIALECTS, Dialect
from agentenv.gateway.failures import ApiError
from agentenv.gateway.router import Router, describe
from agentenv.gateway.session_routes import SessionRoutes
from agentenv.gateway.statistics import GatewayStatistics
from agentenv.gateway.table import SessionTable
from agentenv.gateway.wirejson import dumps
from agentenv.messages import Wire
from agentenv.rollout import Journal

_LOG = logging.getLogger("agentenv.gateway")
_IDLE_CONNECTION_SECONDS = 75.0
_PLAIN = DIALECTS["chat", "completions"]


class GatewayError(AgentenvError):
    """The gateway cannot be started."""


class Gateway:
    """Serves agents from one or more replicas and records what they sample.

    Example:
        async with Gateway(GatewayConfig(["http://127.0.0.1:8000"], port=0)) as gateway:
            client = openai.AsyncOpenAI(base_url=f"{gateway.url}/sessions/first/v1", api_key="none")
    """

    def __init__(self, config: GatewayConfig, journal: Journal | None = None) -> None:
        self.config = config
        self.statistics = GatewayStatistics()
        self.router = Router(config)
        self.sessions = SessionTable(config, self.statistics, journal)
        self._routes = SessionRoutes(self.sessions, self._body)
        self._caller = Caller(config, self.router, self.statistics)
        self._keys = tuple(_bearers(config.api_key))
        self._runner: web.ServerRunner | None = None
        self._port = config.port

    @property
    def url(self) -> str:
        """Where the gateway is reached; `/v1` is not part of it."""
        host = self.config.host if self.config.host not in ("0.0.0.0", "::") else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    async def open(self) -> None:
        """Connects to the replicas and listens.

        Raises:
            GatewayError: the port is taken, or the address is none of this machine's.
        """
        server = web.Server(
            self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=_IDLE_CONNECTION_SECONDS
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=2.0)
        await self.router.open()
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self.config.host, self.config.port, backlog=4096).start()
        except OSError as error:
            await self.close()
            where = f"{self.config.host}:{self.config.port}"
            raise GatewayError(f"cannot listen on {where}: {words_of(error)}; choose another --port") from error
        self._port = self._runner.addresses[0][1]
        self.sessions.start()

    async def close(self) -> None:
        """Ends every session as cancelled, aborts what is under way, and stops listening."""
        await self.sessions.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self.router.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, _ = request.raw_path.partition("?")
        segments = tuple(path.split("/")[1:])
        dialect = _dialect_of(segments)
        try:
            return await self._dispatch(request, segments)
        except ApiError as error:
            answer = error
        except (ConnectionError, web.HTTPException):
            raise
        except Exception as error:  # a fault of ours must reach the agent as one, and the log in full
            _LOG.exception("%s %s failed", request.method, path)
            answer = ApiError(500, f"a fault of the gateway: {type(error).__name__}: {error}")
        headers = {"Content-Type": "application/json", **answer.headers}
        return web.Response(status=answer.status, body=(dialect or _PLAIN).error(answer), headers=headers)

    async def _dispatch(self, request: web.BaseRequest, segments: tuple[str, ...]) -> web.StreamResponse:
        if segments == ("health",):
            return self._health()
        self._check_key(request)
        if segments[:1] == ("v1",):
            return await self._v1(request, request.headers.get(SESSION_HEADER), segments[1:])
        if segments[:1] == ("sessions",) and segments[2:3] == ("v1",):
            return await self._v1(request, segments[1], segments[3:])
        if segments[:1] == ("sessions",):
            id = _decoded(segments[1]) if len(segments) > 1 else None
            return await self._routes.handle(request, id, segments[2:])
        if segments == ("statistics",):
            return web.Response(body=dumps(self.statistics.to_wire()), content_type="application/json")
        raise ApiError(404, f"there is no {request.method} {request.path}")

    async def _v1(self, request: web.BaseRequest, id: str | None, rest: tuple[str, ...]) -> web.StreamResponse:
        """A model call, or a look at the models."""
        dialect = DIALECTS.get(rest)
        if dialect is not None and request.method == "POST":
            raw = await self._body(request)
            if id is not None:
                return await self._caller.answer(request, self.sessions.use(_decoded(id)), dialect, raw)
            return await self._single_call(request, dialect, raw)
        if rest[:1] == ("models",) and request.method == "GET":
            return await self._models("/".join(("/v1", *rest)))
        raise ApiError(404 if dialect is None else 405, f"there is no {request.method} {request.path}")

    async def _single_call(self, request: web.BaseRequest, dialect: Dialect, raw: bytes) -> web.StreamResponse:
        """A call that names no session is one by itself; the answer's header says which, so it can be read back."""
        session = self.sessions.create()
        try:
            return await self._caller.answer(request, session, dialect, raw)
        finally:
            if session.calls:
                await self.sessions.end(session)
            else:
                self.sessions.open.pop(session.id, None)

    async def _models(self, path: str) -> web.Response:
        replica = self.router.choose(None, {})
        timeout = aiohttp.ClientTimeout(total=self.config.idle_seconds, sock_connect=self.config.connect_seconds)
        try:
            async with self.router.get(replica, path, timeout) as upstream:
                body, status = await upstream.read(), upstream.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problem = describe(error, self.config.idle_seconds)
            raise ApiError(502, f"{replica.url}: {problem}", code="upstream_unreachable") from error
        return web.Response(status=status, body=body, content_type="application/json")

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body, if it is not too large. Raises `ApiError` 413 before reading what is announced as larger."""
        limit = self.config.max_body_bytes
        too_large = ApiError(413, f"the body is larger than {limit} bytes", code="body_too_large")
        if (request.content_length or 0) > limit:
            raise too_large
        content = request.content
        if content.is_eof() and "Content-Encoding" not in request.headers:  # all of it came with the headers
            raw = content.read_nowait()
            if len(raw) > limit:
                raise too_large
            return raw
        pieces, size = [], 0
        async for piece in content.iter_any():
            size += len(piece)
            if size > limit:
                raise too_large
            pieces.append(piece)
        return b"".join(pieces)

    def _health(self) -> web.Response:
        replicas = [replica.health for replica in self.router.replicas]
        alive = any(replica.alive for replica in replicas)
        shown: Wire = {
            "status": "ok" if alive else "no replica answers",
            "replicas": [
                {"url": replica.url, "alive": replica.alive, "in_flight": replica.in_flight, "problem": replica.problem}
                for replica in replicas
            ],
        }
        return web.Response(status=200 if alive else 503, body=dumps(shown), content_type="application/json")

    def _check_key(self, request: web.BaseRequest) -> None:
        if not self._keys:
            return
        given = request.headers.get("Authorization") or request.headers.get("x-api-key") or ""
        if not any(hmac.compare_digest(given.encode("utf-8", "replace"), key) for key in self._keys):
            raise ApiError(401, "the gateway's API key is missing or wrong", code="invalid_api_key")


def _bearers(key: str) -> list[bytes]:
    return [f"Bearer {key}".encode(), key.encode()] if key else []


def _dialect_of(segments: tuple[str, ...]) -> Dialect | None:
    if segments[:1] == ("sessions",):
        segments = segments[2:]
    return DIALECTS.get(segments[1:])


def _decoded(id: str) -> str:
    try:
        return urllib.parse.unquote(id, errors="strict")
    except UnicodeDecodeError:
        raise ApiError(400, "a session id is percent-encoded UTF-8", param="id") from None
