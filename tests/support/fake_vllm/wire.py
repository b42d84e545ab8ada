"""HTTP around the handlers: bodies in, bodies out, refusals as FastAPI and vLLM write them."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from agentenv_tiny import EngineStoppedError
from tests.support.fake_vllm.refusals import BadRequest, Json, Refusal, engine_dead, internal_error

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

GUARDED = ("/v1", "/v2", "/inference")
"""Paths behind `--api-key`; all others are open, whoever calls."""

_log = logging.getLogger(__name__)


def json_reply(payload: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(payload, ensure_ascii=False).encode(), content_type="application/json"
    )


async def read_json(request: web.Request) -> Any:
    """The body of a route that wants JSON and its content type."""
    if request.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
        raise BadRequest("1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed")
    return parse(await request.read())


async def read_object(request: web.Request) -> Json:
    """The body of a route that reads JSON by hand."""
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise BadRequest(f"JSON decode error: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("Request body must be a JSON object")
    return body


def parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        place = f"body.{error.pos}"
        detail = {"type": "json_invalid", "loc": place, "msg": "JSON decode error", "ctx": {"error": error.msg}}
        raise BadRequest(f"1 validation error:\n  {detail}", place) from error


def refusing(handler: Handler) -> Handler:
    """Refusals become their bodies, faults of the fake a 500."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as error:
            refusal = error
        except EngineStoppedError:
            refusal = engine_dead()
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            refusal = internal_error(f"{type(error).__name__}: {error}")
        return json_reply(refusal.body, refusal.status.value)

    return handle


def guarding(api_key: str | None) -> Any:
    """The middleware of `--api-key`, and Starlette's bodies for paths and methods that are not there."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if api_key is not None and request.path.startswith(GUARDED):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or token != api_key:
                return json_reply({"error": "Unauthorized"}, 401)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return json_reply({"detail": "Not Found"}, 404)
        except web.HTTPMethodNotAllowed:
            return json_reply({"detail": "Method Not Allowed"}, 405)

    return guard
