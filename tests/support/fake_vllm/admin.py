"""The routes of training and operation: pausing, weights, adapters, health."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.fake_vllm.engines import Engines, PauseMode
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.profiles import Route
from tests.support.fake_vllm.refusals import BadRequest, Json, Refusal, worker_failed
from tests.support.fake_vllm.requests import LoadLoraBody, UnloadLoraBody, read_as
from tests.support.fake_vllm.weights import WeightsFileError, digests, held, read_adapter, with_holes
from tests.support.fake_vllm.wire import json_reply, parse, read_json, read_object

EXTENSION = "agentenv_vllm_worker.WorkerExtension"
"""The `--worker-extension-cls` whose methods the fake has."""


class Administration:
    """Handlers over the engines' common state."""

    def __init__(self, engines: Engines, options: ServerOptions, model_name: str, root: str) -> None:
        self._engines, self._options, self._profile = engines, options, options.profile
        self._model_name, self._root = model_name, root
        self._updating = False
        self._received: dict[str, Any] = {}
        self._four_phases = self._profile.has(Route.START_UPDATE)

    # -- operation -----------------------------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(status=200 if self._engines.alive else 503)

    async def version(self, request: web.Request) -> web.StreamResponse:
        del request
        return json_reply({"version": self._profile.version})

    async def load(self, request: web.Request) -> web.StreamResponse:
        del request
        return json_reply({"server_load": 0})

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """The counters that say how busy the server is."""
        del request
        counts = self._engines.statistics()
        labels = f'{{engine="0",model_name="{self._model_name}"}}'
        shown = {
            "num_requests_running": ("gauge", counts["running"]),
            "num_requests_waiting": ("gauge", counts["waiting"]),
            "prompt_tokens_total": ("counter", counts["prompt_tokens"]),
            "generation_tokens_total": ("counter", counts["sampled_tokens"]),
            "prefix_cache_queries_total": ("counter", counts["prompt_tokens"]),
            "prefix_cache_hits_total": ("counter", counts["reused_tokens"]),
        }
        lines = [f"# TYPE vllm:{name} {kind}\nvllm:{name}{labels} {value:.1f}" for name, (kind, value) in shown.items()]
        block = f'block_size="{self._options.block_size}",enable_prefix_caching="{self._options.prefix_caching}"'
        lines.append(f'# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{block},engine="0"}} 1.0')
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    async def server_info(self, request: web.Request) -> web.StreamResponse:
        """GET /server_info: with `config_format=json` the parts of the configuration that the fake has."""
        options = self._options
        config: Json = {
            "model_config": {
                "model": self._root,
                "served_model_name": self._model_name,
                "max_model_len": self._engines.max_model_len,
                "max_logprobs": options.max_logprobs,
                "logprobs_mode": options.logprobs_mode.value,
                "dtype": "torch.float32",
            },
            "cache_config": {"block_size": options.block_size, "enable_prefix_caching": options.prefix_caching},
            "lora_config": {"max_lora_rank": 16, "max_loras": 1} if options.enable_lora else None,
            "parallel_config": {"world_size": 1, "worker_extension_cls": options.worker_extension or ""},
            "weight_transfer_config": {"backend": options.weight_transfer} if options.weight_transfer else None,
        }
        as_json = request.query.get("config_format") == "json"
        shown = config if as_json else ", ".join(f"{name}={value!r}" for name, value in config.items())
        return json_reply({"vllm_config": shown, "vllm_env": {}, "system_env": {}})

    # -- pausing -------------------------------------------------------------------------------------------------------

    async def pause(self, request: web.Request) -> web.StreamResponse:
        mode = PauseMode.ABORT
        if self._profile.pause_modes:
            mode = _choice(request, "mode", PauseMode.ABORT, PauseMode)
        if _flag(request, "wait_for_inflight_requests", False):
            mode = PauseMode.WAIT
        await self._engines.pause(mode, clear_cache=_flag(request, "clear_cache", True))
        return json_reply({"status": "paused"})

    async def resume(self, request: web.Request) -> web.StreamResponse:
        del request
        await self._engines.resume()
        return json_reply({"status": "resumed"})

    async def is_paused(self, request: web.Request) -> web.StreamResponse:
        del request
        mode = self._engines.pause_mode
        hidden = mode is PauseMode.KEEP and not self._profile.keep_is_reported
        return json_reply({"is_paused": mode is not None and not hidden})

    async def abort_requests(self, request: web.Request) -> web.StreamResponse:
        names = (await read_object(request)).get("request_ids") or None
        return json_reply({"status": "aborted", "aborted": self._engines.abort(names)})

    async def abort_named(self, request: web.Request) -> web.StreamResponse:
        names = (await read_object(request)).get("request_ids")
        if names is None:
            raise BadRequest("Missing 'request_ids' in request body")
        self._engines.abort(names)
        return web.Response()

    async def sleep(self, request: web.Request) -> web.StreamResponse:
        level = _whole_number(request, "level", 1, range(3))
        await self._engines.sleep(level, _choice(request, "mode", PauseMode.ABORT, PauseMode))
        return self._done({"status": "sleeping", "level": level})

    async def wake_up(self, request: web.Request) -> web.StreamResponse:
        await self._engines.resume()
        return self._done({"status": "awake", "tags": request.query.getall("tags", []) or None})

    async def is_sleeping(self, request: web.Request) -> web.StreamResponse:
        del request
        paused = self._engines.pause_mode is not None and self._profile.sleeping_when_paused
        return json_reply({"is_sleeping": self._engines.sleeping or paused})

    def _done(self, status: Json) -> web.Response:
        return json_reply(status) if self._profile.sleep_says_status else web.Response()

    async def reset_prefix_cache(self, request: web.Request) -> web.StreamResponse:
        of_running = _flag(request, "reset_running_requests", False)
        success = await self._engines.reset_prefix_cache(of_running=of_running)
        return json_reply({"success": success}) if self._profile.reset_says_success else web.Response()

    # -- weights -------------------------------------------------------------------------------------------------------

    async def collective_rpc(self, request: web.Request) -> web.StreamResponse:
        body = await read_object(request)
        method = body.get("method")
        if method is None:
            raise BadRequest("Missing 'method' in request body")
        result = await self._call(str(method), body.get("args", []), body.get("kwargs", {}))
        return json_reply({"results": [result]})

    async def _call(self, method: str, arguments: Sequence[Any], named: Json) -> Any:
        if method == "reload_weights":
            known = {"weights_path"} if self._profile.reload_takes_path else set()
            if arguments or not named.keys() <= known:
                unexpected = next(iter(named.keys() - known), "an argument")
                raise worker_failed(f"reload_weights() got an unexpected keyword argument '{unexpected}'")
            await self._engines.reload_weights(named.get("weights_path"))
            return None
        if self._options.worker_extension == EXTENSION:
            if method == "agentenv_weight_fingerprint":
                return self._fingerprint()
            if method == "agentenv_abandon_weight_update":
                self._updating = False
                return await self._engines.take_update_back()
        raise worker_failed(f"'CPUWorker' object has no attribute '{method}'")

    def _fingerprint(self) -> Json:
        """As on a GPU: every parameter can be read. (A CPU hides its matrices in packed copies.)"""
        parameters = held(self._engines.state)
        marks = digests(parameters)
        return {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).split(".")[-1], "mark": marks[name]}
            for name, tensor in parameters.items()
        }

    async def init_transfer(self, request: web.Request) -> web.StreamResponse:
        _required(parse(await request.read()), "init_info")
        self._check_transfer()
        return json_reply({"message": "Weight transfer initialized"})

    async def shutdown_transfer(self, request: web.Request) -> web.StreamResponse:
        del request
        if self._updating:
            raise worker_failed("Cannot release a trainer connection during a weight update")
        return json_reply({"message": "Weight transfer shut down"})

    async def start_update(self, request: web.Request) -> web.StreamResponse:
        del request
        self._check_transfer()
        if self._updating:
            raise worker_failed(
                "start_weight_update called while a weight update is already active. Call finish_weight_update first."
            )
        self._updating = True
        self._received.clear()
        self._engines.forsake_weights()
        return json_reply({"message": "Weight update started"})

    async def update_weights(self, request: web.Request) -> web.StreamResponse:
        """One part of an update; in releases without phases it is all of it."""
        info = _required(parse(await request.read()), "update_info")
        self._check_transfer()
        if self._four_phases and not self._updating:
            raise worker_failed("start_weight_update must be called before update_weights.")
        try:
            part = await self._engines.read(Path(info["path"]))
        except (KeyError, TypeError) as error:
            self._updating = False
            raise worker_failed(f"Invalid update_info: {error}") from error
        except Refusal:
            self._updating = False
            raise
        if self._four_phases:
            self._received.update(part)
        else:
            await self._engines.load(part)
        return json_reply({"message": "Weights updated"})

    async def finish_update(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        label = (parse(data) or {}).get("weight_version") if data and self._profile.finish_takes_version else None
        self._check_transfer()
        if not self._updating:
            raise worker_failed("finish_weight_update called without a matching start_weight_update.")
        self._updating = False
        await self._engines.load(with_holes(self._engines.state, self._received))
        if label is not None:
            await self._engines.set_label(_text(label, "weight_version"))
        return json_reply({"message": "Weight update finished"})

    async def update_weight_version(self, request: web.Request) -> web.StreamResponse:
        label = _text(_required(parse(await request.read()), "new_version"), "new_version")
        await self._engines.set_label(label)
        return json_reply({"success": True, "new_version": label})

    async def weight_info(self, request: web.Request) -> web.StreamResponse:
        del request
        return json_reply({"weight_version": self._engines.label})

    async def weight_checker(self, request: web.Request) -> web.StreamResponse:
        body = parse(await request.read())
        action = _required(body, "action")
        found = {f"dp0:pp0:pcp0:tp0:{name}": value for name, value in digests(held(self._engines.state)).items()}
        if action == "checksum":
            return json_reply({"checksums": found})
        baseline = body.get("baseline")
        if action != "compare" or baseline is None:
            raise BadRequest("action='compare' requires a 'baseline' object")
        names = sorted(name for name in found.keys() | baseline.keys() if found.get(name) != baseline.get(name))
        return json_reply({"match": not names, "mismatches": names})

    async def world_size(self, request: web.Request) -> web.StreamResponse:
        del request
        return json_reply({"world_size": 1})

    def _check_transfer(self) -> None:
        if self._options.weight_transfer is None:
            raise worker_failed(
                "Weight transfer not configured. Please set weight_transfer_config to enable weight transfer."
            )

    # -- adapters ------------------------------------------------------------------------------------------------------

    async def load_lora(self, request: web.Request) -> web.StreamResponse:
        body = read_as(LoadLoraBody, await read_json(request))
        name = body.lora_name
        if not self._options.enable_lora:
            raise worker_failed("LoRA is not enabled.")
        if name == self._model_name:
            raise _user_error(f"The lora adapter '{name}' conflicts with a served base model.")
        if name in self._engines.adapters and not (body.load_inplace and self._profile.load_inplace):
            hint = " If you want to load the adapter in place, set 'load_inplace' to True."
            raise _user_error(
                f"The lora adapter '{name}' has already been loaded.{hint if self._profile.load_inplace else ''}"
            )
        try:
            adapter = await asyncio.to_thread(read_adapter, name, body.lora_path)
        except WeightsFileError as error:
            raise _not_found(f"Loading lora {name} failed: {error}") from error
        await self._engines.load_adapter(adapter)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_lora(self, request: web.Request) -> web.StreamResponse:
        name = read_as(UnloadLoraBody, await read_json(request)).lora_name
        if name not in self._engines.adapters:
            raise _not_found(f"The lora adapter '{name}' cannot be found.")
        await self._engines.unload_adapter(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


def _user_error(message: str) -> Refusal:
    return Refusal(message, kind="InvalidUserInput")


def _not_found(message: str) -> Refusal:
    return Refusal(message, status=HTTPStatus.NOT_FOUND, kind="NotFoundError")


def _required(body: Any, name: str) -> Any:
    if not isinstance(body, dict) or body.get(name) is None:
        detail = {"type": "missing", "loc": f"body.{name}", "msg": "Field required", "input": "None"}
        raise BadRequest(f"1 validation error:\n  {detail}", f"body.{name}")
    return body[name]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        detail = {"type": "string_type", "loc": f"body.{name}", "msg": "Input should be a valid string"}
        raise BadRequest(f"1 validation error:\n  {detail}", f"body.{name}")
    return value


def _flag(request: web.Request, name: str, default: bool) -> bool:
    return request.query.get(name, str(default)).lower() in ("1", "true", "yes", "on")


def _choice(request: web.Request, name: str, default: PauseMode, kind: type[PauseMode]) -> PauseMode:
    given = request.query.get(name, default.value)
    if given not in [each.value for each in kind]:
        expected = "'abort', 'wait' or 'keep'"
        detail = {"type": "literal_error", "loc": f"query.{name}", "msg": f"Input should be {expected}", "input": given}
        raise BadRequest(f"1 validation error:\n  {detail}", f"query.{name}")
    return kind(given)


def _whole_number(request: web.Request, name: str, default: int, allowed: range) -> int:
    given = request.query.get(name, str(default))
    if not given.isdecimal() or int(given) not in allowed:
        detail = {"type": "less_than_equal", "loc": f"query.{name}", "input": given}
        raise BadRequest(f"1 validation error:\n  {detail}", f"query.{name}")
    return int(given)
