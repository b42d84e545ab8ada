"""The client of the administration routes: what it sends, and what its errors say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yarl
from aiohttp import web

from agentenv.errors import ConfigError, ModelError
from agentenv_vllm.api import PauseMode, VLLMApi, server_root
from agentenv_vllm.errors import RouteMissingError, ServerRefusedError, ServerUnreachableError


class Recorder:
    """Answers every request with one body and keeps what it was asked."""

    def __init__(self, status: int = 200, body: Any = None, *, silent: bool = False) -> None:
        self.status, self.body, self.silent = status, body, silent
        self.asked: list[tuple[str, str, Any]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        sent = await request.read()
        self.asked.append((request.method, request.path_qs, json.loads(sent) if sent else None))
        if self.silent:
            await asyncio.sleep(3600)
        if isinstance(self.body, str):
            return web.Response(status=self.status, text=self.body)
        return web.json_response(self.body, status=self.status)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[VLLMApi]:
        runner = web.ServerRunner(web.Server(self), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with VLLMApi(f"http://127.0.0.1:{runner.addresses[0][1]}/v1") as api:
                yield api
        finally:
            await runner.cleanup()


async def test_requests_are_those_that_vllm_documents() -> None:
    recorder = Recorder(
        body={"is_paused": True, "world_size": 2, "weight_version": "7", "tokens": [1], "success": False}
    )
    async with recorder.api() as api:
        await api.pause(PauseMode.KEEP)
        await api.collective_rpc("reload_weights", kwargs={"weights_path": "/w"}, timeout=5)
        assert await api.reset_prefix_cache(reset_running_requests=True) is False
        await api.init_weight_transfer_engine({"a": 1})
        await api.start_weight_update()
        await api.update_weights({"names": ["w"]})
        await api.finish_weight_update("7")
        await api.update_weight_version("7")
        assert await api.weight_version() == "7"
        assert await api.world_size() == 2
        await api.load_lora_adapter("a", "/a")
        await api.unload_lora_adapter("a")
        await api.resume()
        assert await api.tokenize([{"role": "user", "content": "hi"}], model="m") == [1]
    assert recorder.asked == [
        ("POST", "/pause?mode=keep", None),
        (
            "POST",
            "/collective_rpc",
            {"method": "reload_weights", "args": [], "kwargs": {"weights_path": "/w"}, "timeout": 5},
        ),
        ("POST", "/reset_prefix_cache?reset_running_requests=true", None),
        ("POST", "/init_weight_transfer_engine", {"init_info": {"a": 1}}),
        ("POST", "/start_weight_update", None),
        ("POST", "/update_weights", {"update_info": {"names": ["w"]}}),
        ("POST", "/finish_weight_update", {"weight_version": "7"}),
        ("POST", "/update_weight_version", {"new_version": "7"}),
        ("GET", "/weight_info", None),
        ("GET", "/get_world_size?include_dp=true", None),
        ("POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a", "load_inplace": True}),
        ("POST", "/v1/unload_lora_adapter", {"lora_name": "a"}),
        ("POST", "/resume", None),
        (
            "POST",
            "/tokenize",
            {"model": "m", "messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": True},
        ),
    ]


async def test_an_error_status_is_an_error_with_the_servers_words() -> None:
    async with Recorder(500, {"error": {"message": "no such file"}}).api() as api:
        with pytest.raises(ServerRefusedError, match="/update_weights answered 500: no such file") as caught:
            await api.update_weights({})
    assert caught.value.status == 500
    assert isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda api: api.pause(), "VLLM_SERVER_DEV_MODE=1"),
        (lambda api: api.load_lora_adapter("a", "/a"), "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        (lambda api: api.models(), "Is the URL that of a vLLM server's root"),
    ],
)
async def test_a_missing_route_names_what_enables_it(call: Any, advice: str) -> None:
    async with Recorder(404, {"detail": "Not Found"}).api() as api:
        with pytest.raises(RouteMissingError, match=advice):
            await call(api)


async def test_silence_ends_after_the_timeout() -> None:
    async with Recorder(silent=True).api() as api:
        with pytest.raises(ServerUnreachableError, match=r"no answer in 0\.05 s"):
            await api.health(timeout=0.05)


@pytest.mark.parametrize("body", ["<html>a proxy</html>", [], {"other": 1}])
async def test_an_answer_of_another_shape_is_an_error_and_no_crash(body: Any) -> None:
    async with Recorder(body=body).api() as api:
        with pytest.raises(ServerRefusedError, match="not what a vLLM server answers"):
            await api.version()


async def test_it_must_be_opened_first() -> None:
    with pytest.raises(ConfigError, match="open the client first"):
        await VLLMApi("http://127.0.0.1:8000").health()


@pytest.mark.parametrize("url", ["http://h:8000", "http://h:8000/", "http://h:8000/v1", "http://h:8000/v1/"])
def test_the_root_is_found_with_and_without_v1(url: str) -> None:
    assert server_root(url) == yarl.URL("http://h:8000")


@pytest.mark.parametrize("url", ["h:8000", "ftp://h", "http://", ""])
def test_what_is_no_url_is_a_mistake(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL"):
        server_root(url)
