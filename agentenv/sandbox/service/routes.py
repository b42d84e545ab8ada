"""The HTTP routes, and what holds for all of them: who may ask, how much, and how an error looks."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pydantic
from aiohttp import web

from agentenv.addresses import strange_page
from agentenv.errors import AgentenvError
from agentenv.sandbox.contract import OnOutput, Snapshot
from agentenv.sandbox.errors import SandboxFailed
from agentenv.sandbox.result import ExecResult
from agentenv.sandbox.service import wire
from agentenv.sandbox.service.answers import error_response, explain, json_response
from agentenv.sandbox.service.fusion_wire import RunCode
from agentenv.sandbox.service.leases import LeasedSandbox
from agentenv.sandbox.service.metrics import CONTENT_TYPE
from agentenv.sandbox.service.openapi import openapi_document
from agentenv.sandbox.service.refusals import Code, Refusal
from agentenv.sandbox.service.state import ServiceState

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Body = TypeVar("Body", bound=pydantic.BaseModel)
T = TypeVar("T")

_LOG = logging.getLogger("agentenv.sandbox")
_OPEN_TO_ALL = ("/health",)


class _Read(pydantic.BaseModel):
    """Which file to read, or which folder to list; numbers are texts, as they are in a URL."""

    path: str
    limit: int | None = pydantic.Field(default=None, ge=0)


class _Write(pydantic.BaseModel):
    path: str
    executable: bool = False


class Routes:
    """Everything a sandbox service answers."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._config = state.config
        key = state.config.api_key
        self._credentials = None if key is None else f"Bearer {key.get_secret_value()}".encode()

    def add_to(self, app: web.Application) -> None:
        sandbox = "/sandboxes/{sandbox}"
        session = f"{sandbox}/sessions/{{session}}"
        app.middlewares.append(self.guard)
        app.add_routes(
            [
                web.get("/", self.view),
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
                web.get("/openapi.json", self.openapi),
                web.get("/promises", self.promises),
                web.post("/run_code", self.run_code),
                web.post("/heartbeat", self.heartbeat),
                web.post("/sandboxes", self.create),
                web.delete(sandbox, self.close),
                web.post(f"{sandbox}/exec", self.execute),
                web.post(f"{sandbox}/python", self.run_python),
                web.post(f"{sandbox}/sessions", self.open_session),
                web.delete(session, self.close_session),
                web.post(f"{session}/run", self.run_in_session),
                web.post(f"{session}/fork", self.fork_session),
                web.get(f"{sandbox}/files", self.read),
                web.put(f"{sandbox}/files", self.write),
                web.get(f"{sandbox}/entries", self.list),
                web.get(f"{sandbox}/snapshot", self.snapshot),
                web.put(f"{sandbox}/snapshot", self.restore),
                web.post(f"{sandbox}/fork", self.fork),
                web.get(f"{sandbox}/stats", self.stats),
                web.post(f"{sandbox}/kill", self.kill),
            ]
        )

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in who may come in, and gives every error the shape of this service's."""
        try:
            self._admit(request)
            return await handler(request)
        except pydantic.ValidationError as error:
            return error_response(Refusal(Code.MALFORMED, explain(error)))
        except AgentenvError as error:
            return error_response(Refusal.of(error))
        except web.HTTPRequestEntityTooLarge:
            return error_response(self._too_large())
        except web.HTTPException as error:
            if error.status < 400:
                raise
            problem = f"{request.method} {request.path}: {error.reason}; see /openapi.json"
            return error_response(Refusal(Code.NOT_FOUND, problem), error.status)
        except Exception as error:
            _LOG.exception("a request failed: %s %s", request.method, request.path)
            return error_response(Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}"))

    # The service itself.

    async def view(self, _: web.Request) -> web.Response:
        return json_response(self._state.view())

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._state.metrics_page(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _: web.Request) -> web.Response:
        return web.json_response(openapi_document())

    async def promises(self, _: web.Request) -> web.Response:
        return json_response(wire.PromisesReply.of(await self._in_time(self._state.backend.probe())))

    async def run_code(self, request: web.Request) -> web.Response:
        return json_response(await self._state.fusion.run(await self._body(request, RunCode)))

    async def heartbeat(self, request: web.Request) -> web.Response:
        asked = await self._body(request, wire.Heartbeat)
        return json_response(wire.HeartbeatReply(sandboxes=self._state.leases.heartbeat(asked.sandboxes)))

    # Sandboxes.

    async def create(self, request: web.Request) -> web.Response:
        asked = await self._body(request, wire.CreateSandbox)
        return self._opened(await self._state.leases.create(self._state.limits_of(asked.limits)))

    async def fork(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            return self._opened(await self._state.leases.fork(leased))

    async def close(self, request: web.Request) -> web.Response:
        await self._state.leases.close(request.match_info["sandbox"])
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            await self._in_time(leased.sandbox.kill())
        return web.Response(status=204)

    async def stats(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            return json_response(wire.StatsReply.of(await self._in_time(leased.sandbox.stats())))

    # Executions.

    async def execute(self, request: web.Request) -> web.StreamResponse:
        asked = await self._body(request, wire.Execute)
        with self._state.leases.using(request.match_info["sandbox"]) as leased:

            async def run(hear: OnOutput | None) -> ExecResult:
                return await leased.sandbox.exec(
                    asked.command,
                    stdin=asked.stdin,
                    env=asked.env,
                    cwd=asked.cwd,
                    wall_seconds=asked.wall_seconds,
                    on_output=hear,
                )

            return await self._state.executions.answer(request, run, stream=asked.stream)

    async def run_python(self, request: web.Request) -> web.StreamResponse:
        asked = await self._body(request, wire.RunPython)
        with self._state.leases.using(request.match_info["sandbox"]) as leased:

            async def run(hear: OnOutput | None) -> ExecResult:
                return await leased.sandbox.run_python(
                    asked.code, stdin=asked.stdin, seed=asked.seed, wall_seconds=asked.wall_seconds, on_output=hear
                )

            return await self._state.executions.answer(request, run, stream=asked.stream)

    async def open_session(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            session = await self._in_time(leased.sandbox.python())
            return json_response(wire.SessionReply(session=leased.keep(session)), 201)

    async def run_in_session(self, request: web.Request) -> web.StreamResponse:
        asked = await self._body(request, wire.RunInSession)
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            session = leased.session(request.match_info["session"])

            async def run(hear: OnOutput | None) -> ExecResult:
                return await session.run(asked.code, wall_seconds=asked.wall_seconds, on_output=hear)

            return await self._state.executions.answer(request, run, stream=asked.stream)

    async def fork_session(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            session = await self._in_time(leased.session(request.match_info["session"]).fork())
            return json_response(wire.SessionReply(session=leased.keep(session)), 201)

    async def close_session(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            await self._in_time(leased.end_session(request.match_info["session"]))
        return web.Response(status=204)

    # Files.

    async def read(self, request: web.Request) -> web.Response:
        asked = _Read.model_validate(dict(request.query))
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            return _bytes(await self._in_time(leased.sandbox.read(asked.path, limit=asked.limit)))

    async def write(self, request: web.Request) -> web.Response:
        asked = _Write.model_validate(dict(request.query))
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            data = await self._raw(request)
            await self._in_time(leased.sandbox.write(asked.path, data, executable=asked.executable))
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.Response:
        asked = _Read.model_validate({"path": ".", **request.query})
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            return json_response(wire.EntriesReply.of(await self._in_time(leased.sandbox.list(asked.path))))

    async def snapshot(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            return _bytes((await self._in_time(leased.sandbox.snapshot())).archive)

    async def restore(self, request: web.Request) -> web.Response:
        with self._state.leases.using(request.match_info["sandbox"]) as leased:
            archive = await self._raw(request)
            await self._in_time(leased.sandbox.restore(Snapshot(archive)))
        return web.Response(status=204)

    # Inside.

    def _opened(self, leased: LeasedSandbox) -> web.Response:
        limits = wire.LimitsView.of(leased.sandbox.limits)
        reply = wire.SandboxReply(
            sandbox=leased.id, limits=limits, isolation=leased.sandbox.isolation, lease=self._config.lease
        )
        return json_response(reply, 201)

    async def _in_time(self, operation: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._config.operation_timeout):
                return await operation
        except TimeoutError:
            problem = f"the sandbox has not answered for {self._config.operation_timeout:g} s"
            raise SandboxFailed(problem) from None

    async def _body(self, request: web.Request, model: type[Body]) -> Body:
        return model.model_validate_json(await self._raw(request) or b"{}")

    async def _raw(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > self._config.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._config.request_timeout):
                return await request.read()
        except TimeoutError:
            problem = f"the body did not arrive in {self._config.request_timeout:g} s"
            raise Refusal(Code.MALFORMED, problem) from None

    def _too_large(self) -> Refusal:
        return Refusal(Code.TOO_LARGE, f"a request may have {self._config.max_body:,} bytes (--max-body)")

    def _admit(self, request: web.Request) -> None:
        if request.path in _OPEN_TO_ALL:
            return
        stranger = strange_page(self._config.host, request.host, request.headers.get("Origin"))
        if stranger is not None:
            raise Refusal(Code.FOREIGN_ORIGIN, stranger)
        given = request.headers.get("Authorization", "").encode()
        if self._credentials is not None and not hmac.compare_digest(given, self._credentials):
            raise Refusal(Code.UNAUTHORIZED, "this service wants its API key: Authorization: Bearer KEY")


def _bytes(data: bytes) -> web.Response:
    return web.Response(body=data, content_type="application/octet-stream")
