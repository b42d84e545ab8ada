"""The fake as an aiohttp application, and as a context manager inside a test's own process."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from agentenv_tiny.encoder import renderer_of
from tests.support.fake_vllm.admin import Administration
from tests.support.fake_vllm.derender import Derendering
from tests.support.fake_vllm.engines import Engines
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.profiles import PROFILES, V0_32, Gate, Profile, Route
from tests.support.fake_vllm.refusals import Refusal
from tests.support.fake_vllm.serving import Serving
from tests.support.fake_vllm.text import TokenTexts
from tests.support.fake_vllm.wire import Handler, guarding, json_reply, refusing

MAX_BODY_BYTES = 256 * 2**20


class FakeVLLM:
    """A vLLM server of the release `profile` over the model in `folder`, at `base_url` on the loopback interface.

        async with FakeVLLM("runs/start", profile="0.32", tool_call_parser="hermes", auto_tool_choice=True) as server:
            client = openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none")

    Further arguments are fields of ServerOptions.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        profile: str | Profile = V0_32,
        port: int = 0,
        host: str = "127.0.0.1",
        **options: Any,
    ) -> None:
        release = PROFILES[profile] if isinstance(profile, str) else profile
        self._open(Path(folder), ServerOptions(profile=release, **options), host, port)

    @classmethod
    def from_options(cls, folder: Path, options: ServerOptions, *, host: str, port: int) -> FakeVLLM:
        """With options read elsewhere."""
        server = cls.__new__(cls)
        server._open(folder, options, host, port)
        return server

    def _open(self, folder: Path, options: ServerOptions, host: str, port: int) -> None:
        self.options, self.host, self._port = options, host, port
        self.model_name = options.model_name or str(folder)
        self.engines = Engines(folder, options)
        texts = TokenTexts(folder)
        render = renderer_of(folder)
        serving = Serving(self.engines, texts, render, options, self.model_name, str(folder))
        admin = Administration(self.engines, options, self.model_name, str(folder))
        derendering = Derendering(self.engines, texts, options, self.model_name)
        self.app = _application(options, serving, admin, derendering)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """The server's root, without /v1."""
        return f"http://{self.host}:{self._port}"

    def kill_engine(self) -> None:
        """What follows the death of vLLM's engine process: requests in flight and new ones get 500, /health 503."""
        self.engines.stop()

    async def __aenter__(self) -> Self:
        self.engines.start()
        try:
            self._runner = web.AppRunner(self.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
            await self._runner.setup()
            await web.TCPSite(self._runner, self.host, self._port, backlog=4096).start()
            self._port = self._runner.addresses[0][1]
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        try:
            await asyncio.to_thread(self.engines.stop)
            if self._runner is not None:
                await self._runner.cleanup()
        finally:
            self.engines.stop()


_PARAMETERS = {
    Route.PAUSE: ("mode", "clear_cache"),
    Route.RESET_PREFIX_CACHE: ("reset_running_requests", "reset_external"),
}
"""Query parameters that the schema names in the releases whose `/pause` has modes."""


def _application(
    options: ServerOptions, serving: Serving, admin: Administration, derendering: Derendering
) -> web.Application:
    handlers: dict[Route, Handler] = {
        Route.CHAT: serving.chat,
        Route.COMPLETIONS: serving.complete,
        Route.MODELS: serving.models,
        Route.TOKENIZE: serving.tokenize,
        Route.DETOKENIZE: serving.detokenize,
        Route.GENERATE: serving.generate,
        Route.RENDER_CHAT: serving.render_chat,
        Route.RENDER_COMPLETION: serving.render_completion,
        Route.DERENDER_CHAT: derendering.chat,
        Route.HEALTH: admin.health,
        Route.PING_GET: admin.health,
        Route.PING_POST: admin.health,
        Route.VERSION: admin.version,
        Route.LOAD: admin.load,
        Route.METRICS: admin.metrics,
        Route.SERVER_INFO: admin.server_info,
        Route.LOAD_LORA: admin.load_lora,
        Route.UNLOAD_LORA: admin.unload_lora,
        Route.RESET_PREFIX_CACHE: admin.reset_prefix_cache,
        Route.COLLECTIVE_RPC: admin.collective_rpc,
        Route.SLEEP: admin.sleep,
        Route.WAKE_UP: admin.wake_up,
        Route.IS_SLEEPING: admin.is_sleeping,
        Route.PAUSE: admin.pause,
        Route.RESUME: admin.resume,
        Route.IS_PAUSED: admin.is_paused,
        Route.ABORT_REQUESTS: admin.abort_requests,
        Route.ABORT_NAMED: admin.abort_named,
        Route.INIT_TRANSFER: admin.init_transfer,
        Route.SHUTDOWN_TRANSFER: admin.shutdown_transfer,
        Route.START_UPDATE: admin.start_update,
        Route.UPDATE_WEIGHTS: admin.update_weights,
        Route.FINISH_UPDATE: admin.finish_update,
        Route.UPDATE_WEIGHT_VERSION: admin.update_weight_version,
        Route.WEIGHT_INFO: admin.weight_info,
        Route.WEIGHT_CHECKER: admin.weight_checker,
        Route.WORLD_SIZE: admin.world_size,
    }
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[guarding(options.api_key)])
    paths: dict[str, dict[str, Any]] = {}

    async def openapi(request: web.Request) -> web.StreamResponse:
        del request
        return json_reply({"openapi": "3.1.0", "info": {"title": "FastAPI", "version": "0.1.0"}, "paths": paths})

    handlers[Route.OPENAPI] = openapi
    for route, gate in options.profile.routes.items():
        opened = options.opens(gate)
        if opened:
            app.router.add_route(route.method, route.path, refusing(handlers[route]))
            if route is not Route.OPENAPI:
                names = _PARAMETERS.get(route, ()) if options.profile.pause_modes else ()
                parameters = [{"name": name, "in": "query", "required": False} for name in names]
                described = {"responses": {"200": {}}, **({"parameters": parameters} if parameters else {})}
                paths.setdefault(route.path, {})[route.method.lower()] = described
        elif gate is Gate.SCALE_OUT:
            app.router.add_route(route.method, route.path, refusing(_disabled))
    return app


async def _disabled(request: web.Request) -> web.StreamResponse:
    del request
    raise Refusal(
        "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.",
        status=HTTPStatus.FORBIDDEN,
        kind="PermissionDeniedError",
    )
