"""What a vLLM server can do, found out once at the start by asking it, not by its version number."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agentenv.errors import ConfigError
from agentenv.messages import Wire
from agentenv_openai.wire import error_words
from agentenv_vllm import worker
from agentenv_vllm.api import Reply, ServedModel, VLLMApi
from agentenv_vllm.errors import MissingCapabilityError, ServerError, ServerRefusedError
from agentenv_vllm.options import LogprobsMode
from agentenv_vllm.worker import TransferBackend

_ASKED_ROUTES = (
    "/pause", "/resume", "/is_paused", "/reset_prefix_cache", "/collective_rpc", "/init_weight_transfer_engine",
    "/start_weight_update", "/update_weights", "/finish_weight_update", "/update_weight_version", "/weight_info",
    "/weight_checker", "/get_world_size", "/server_info", "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
    "/v1/chat/completions/render", "/v1/chat/completions/derender", "/inference/v1/generate", "/tokenize",
)  # fmt: skip
_TWO = (1.0, 2.0)
"""The two temperatures that tell processed logprobs from raw ones."""


class Mode(StrEnum):
    """What a server is wanted for: to be evaluated, or to be trained by one of the ways to replace weights."""

    EVALUATE = "evaluate"
    FOLDER = "folder"
    """A folder and `reload_weights`."""
    TRANSFER = "transfer"
    """The weight-transfer protocol."""
    LORA = "lora"
    """Adapters loaded while it serves."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One server's abilities. `None` means that it would not tell.

    Attributes:
        url: of the server's root.
        version: of vLLM, for people; nothing is decided by it.
        model: the one that is asked for.
        served: every model it lists.
        routes: paths it answers at, of those that matter here.
        dev_mode: whether it has the routes of `VLLM_SERVER_DEV_MODE=1`.
        paused: whether somebody left it paused; then nothing below that needs an answer of the model is known.
        pause_modes: whether `/pause` knows modes; without, it always aborts.
        token_ids: whether chat completions return prompt and sampled ids.
        weight_versions: whether they say which weights sampled which tokens.
        logprobs_mode: of what the logprobs are.
        tool_parser: whether tool calls are read out of the model's text.
        template_hash: of the ids a fixed conversation is rendered to: changes with the chat template or the tokenizer.
        max_model_len: most tokens of prompt and answer together.
        lora: whether adapters can be loaded.
        weight_transfer: the backend of the weight-transfer protocol; "" when it has none.
        worker_extension: the class that `/collective_rpc` can call; "" when there is none.
        template_problem: why it cannot render a conversation, in its own words; `None` when it can.
    """

    url: str
    version: str
    model: str
    served: tuple[ServedModel, ...]
    routes: frozenset[str]
    dev_mode: bool
    paused: bool
    pause_modes: bool
    token_ids: bool
    weight_versions: bool
    logprobs_mode: LogprobsMode | None
    tool_parser: bool | None
    template_hash: str | None
    max_model_len: int | None
    lora: bool | None
    weight_transfer: str | None
    worker_extension: str | None
    template_problem: str | None

    def require(self, mode: Mode) -> None:
        """Raises `MissingCapabilityError`, naming every flag and variable to add, unless the server suits `mode`."""
        missing = self.missing(mode)
        if not missing:
            return
        width = max(len(each.add) for each in missing)
        lines = "\n".join(f"  {each.add:<{width}}  {each.why}" for each in missing)
        purpose = "be evaluated" if mode is Mode.EVALUATE else f"be trained (update={mode.value!r})"
        raise MissingCapabilityError(
            f"the vLLM server at {self.url} (version {self.version}) cannot {purpose} as it runs. "
            f"Start it again with:\n{lines}"
        )

    def missing(self, mode: Mode) -> list[Missing]:
        """What `mode` needs and the server does not have."""
        found = (
            []
            if self.template_problem is None
            else [Missing("--chat-template FILE", f"it says: {self.template_problem}")]
        )
        if mode is Mode.EVALUATE:
            return found
        if not self.token_ids and self.template_problem is None and not self.paused:
            found.append(Missing("a newer vLLM (0.10.2)", "it does not return token ids (return_token_ids)"))
        if self.logprobs_mode not in (LogprobsMode.PROCESSED_LOGPROBS, None):
            found.append(
                Missing(
                    "--logprobs-mode processed_logprobs",
                    f"its logprobs are {self.logprobs_mode.value}: not of the distribution it samples from",
                )
            )
        if mode is Mode.LORA:
            found += self._missing_lora()
        elif not self.dev_mode:
            found.append(Missing("VLLM_SERVER_DEV_MODE=1", "the routes that pause it and replace its weights"))
        else:
            found += self._missing_routes(mode)
        if mode is Mode.TRANSFER and self.weight_transfer == "":
            flags = shlex.join(worker.arguments(TransferBackend.FILE)[2:])
            found.append(Missing(flags, "the weight-transfer protocol, by files or (nccl) between GPUs"))
            if not self.worker_extension:
                extension = shlex.join(worker.arguments()[:2])
                found.append(Missing(f"PYTHONPATH={worker.PYTHON_PATH} {extension}", "the engine for files"))
        return found

    def _missing_lora(self) -> list[Missing]:
        found = []
        if "/v1/load_lora_adapter" not in self.routes:
            found.append(Missing("VLLM_ALLOW_RUNTIME_LORA_UPDATING=1", "the routes that load adapters"))
        if self.lora is False:
            found.append(Missing("--enable-lora", "adapters"))
        return found

    def _missing_routes(self, mode: Mode) -> list[Missing]:
        needed = ["/pause", "/resume", "/reset_prefix_cache"]
        needed += ["/collective_rpc"] if mode is Mode.FOLDER else ["/init_weight_transfer_engine", "/update_weights"]
        absent = [route for route in needed if route not in self.routes]
        return [Missing("a newer vLLM (0.16)", f"it has no {', '.join(absent)}")] if absent else []


@dataclass(frozen=True, slots=True)
class Missing:
    """A flag, variable or version to add, and why."""

    add: str
    why: str


async def probe(api: VLLMApi, model: str | None = None, *, in_full: bool = True) -> Probe:
    """Asks the server everything; a few requests of one token each.

    Args:
        api: an open client.
        model: the name to ask for; `None` takes the first it serves.
        in_full: asks for the configuration too (LoRA, weight transfer, extension), which an evaluation does not need
            and which takes a server some seconds the first time.

    Raises:
        ConfigError: it is no vLLM server, or does not serve that model.
        ServerUnreachableError: nothing answers there.
    """
    version = await _version(api)
    served = await api.models()
    name = _chosen(api, served, model)
    schema = await api.openapi()
    routes = frozenset(schema["paths"]) if schema is not None else await _routes_by_asking(api)
    info = await api.server_info() if in_full and "/server_info" in routes else None
    config = info.get("vllm_config") if info is not None else None
    settings: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    paused = "/is_paused" in routes and await api.is_paused()
    answers = _Answers() if paused else await _ask(api, name)
    return Probe(
        url=str(api.root),
        version=version,
        model=name,
        served=served,
        routes=routes,
        dev_mode=bool(routes & {"/collective_rpc", "/reset_prefix_cache", "/server_info"}),
        paused=paused,
        pause_modes=_has_pause_modes(schema, routes),
        token_ids=answers.token_ids,
        weight_versions=answers.weight_versions,
        logprobs_mode=answers.logprobs_mode or _configured_mode(settings),
        tool_parser=answers.tool_parser,
        template_hash=None if "/tokenize" not in routes else await _template_hash(api, name),
        max_model_len=next((each.max_model_len for each in served if each.id == name), None),
        lora=await _has_lora(api, routes, settings) if in_full else None,
        weight_transfer=_configured(settings, "weight_transfer_config", "backend"),
        worker_extension=_configured(settings, "parallel_config", "worker_extension_cls"),
        template_problem=answers.problem,
    )


async def _version(api: VLLMApi) -> str:
    try:
        return await api.version()
    except ServerRefusedError as error:
        if error.status in (401, 403):
            raise ConfigError(f"{api.root} wants an API key; give the option api_key ({error})") from error
        raise ConfigError(
            f"{api.root} is no vLLM server ({error}). Any other OpenAI-compatible endpoint can be evaluated: "
            f"--policy openai:{api.root}/v1"
        ) from error


def _chosen(api: VLLMApi, served: Sequence[ServedModel], wanted: str | None) -> str:
    names = [each.id for each in served]
    if wanted is None and names:
        return names[0]
    if wanted is None or wanted not in names:
        raise ConfigError(f"{api.root} does not serve {wanted!r}; it serves {', '.join(names) or 'nothing'}")
    return wanted


async def _routes_by_asking(api: VLLMApi) -> frozenset[str]:
    """Which routes exist, where the schema is not published: asked with a method they do not have, they say 405."""

    async def exists(path: str) -> bool:
        return (await api.send("PUT", path)).status != 404

    async with asyncio.TaskGroup() as group:
        asked = {path: group.create_task(exists(path)) for path in _ASKED_ROUTES}
    return frozenset(path for path, task in asked.items() if task.result())


def _has_pause_modes(schema: Wire | None, routes: frozenset[str]) -> bool:
    if schema is None:
        return "/get_world_size" in routes  # came with the same release
    post = schema["paths"].get("/pause", {}).get("post", {})
    return any(parameter.get("name") == "mode" for parameter in post.get("parameters", ()))


def _configured(settings: Mapping[str, Any], section: str, name: str) -> str | None:
    """A setting as text, "" when it is not set; `None` when the server does not publish its configuration."""
    if section not in settings:
        return None
    value = settings[section].get(name) if isinstance(settings[section], Mapping) else None
    return str(value or "")


def _configured_mode(settings: Mapping[str, Any]) -> LogprobsMode | None:
    named = _configured(settings, "model_config", "logprobs_mode")
    return LogprobsMode(named) if named in set(LogprobsMode) else None


async def _has_lora(api: VLLMApi, routes: frozenset[str], settings: Mapping[str, Any]) -> bool:
    if "lora_config" in settings:
        return settings["lora_config"] is not None
    if "/v1/load_lora_adapter" not in routes:
        return False
    reply = await api.send("POST", "/v1/load_lora_adapter", {"lora_name": "agentenv-probe", "lora_path": "/nowhere"})
    return "not enabled" not in json.dumps(reply.body).lower()


@dataclass(frozen=True, slots=True)
class _Answers:
    """What two or three answers of the model told."""

    token_ids: bool = False
    weight_versions: bool = False
    logprobs_mode: LogprobsMode | None = None
    tool_parser: bool | None = None
    problem: str | None = None


async def _ask(api: VLLMApi, model: str) -> _Answers:
    """Raises `ServerError` when the server fails at a plain question."""
    body: Wire = {
        "model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "seed": 0, "top_p": 1.0,
        "top_k": -1, "logprobs": True, "top_logprobs": 5, "return_token_ids": True, "return_weight_versions": True,
    }  # fmt: skip
    replies = [await _chat(api, body | {"temperature": temperature}) for temperature in _TWO]
    for reply in replies:
        if reply.status != 200:
            words = error_words(json.dumps(reply.body).encode())
            if "chat template" in words or "chat_template" in words:
                return _Answers(problem=words)
            raise ServerRefusedError(f"{api.root} answers a plain question with {reply.status}: {words}", reply.status)
    try:
        first = replies[0].body
        choice = first["choices"][0]
        tops = [_top_logprobs(reply) for reply in replies]
    except (KeyError, IndexError, TypeError) as error:
        raise ServerError(
            f"{api.root} answers chat completions with something else: {replies[0].body!r:.300}"
        ) from error
    prompt_ids = first.get("prompt_token_ids") or choice.get("prompt_token_ids")
    return _Answers(
        token_ids=bool(prompt_ids) and bool(choice.get("token_ids")),
        weight_versions=bool(choice.get("weight_versions")),
        logprobs_mode=_mode_of(*tops),
        tool_parser=await _reads_tool_calls(api, body),
    )


async def _chat(api: VLLMApi, body: Wire) -> Reply:
    return await api.send("POST", "/v1/chat/completions", body, timeout=120.0)


def _top_logprobs(reply: Reply) -> dict[str, float]:
    """The values of the likeliest tokens by their bytes, since texts of different tokens can be equal."""
    entry = reply.body["choices"][0]["logprobs"]["content"][0]
    return {str(top.get("bytes") or top["token"]): float(top["logprob"]) for top in (*entry["top_logprobs"], entry)}


def _mode_of(cool: Mapping[str, float], hot: Mapping[str, float]) -> LogprobsMode | None:
    """The mode, by the values of the same tokens at temperature 1 and 2; `None` when they do not tell.

    Raw values do not change with the temperature. Processed logits are halved; logprobs do something else. Values
    above 0 are logits.
    """
    shared = sorted(set(cool) & set(hot))
    if not shared:
        return None
    logits = any(value > 1e-6 for value in (*cool.values(), *hot.values()))
    same = all(abs(cool[token] - hot[token]) <= 1e-4 * (1 + abs(cool[token])) for token in shared)
    spread = max(cool[token] for token in shared) - min(cool[token] for token in shared)
    if same and (spread > 1e-3 or min(cool.values()) < -1e-3):
        return LogprobsMode.RAW_LOGITS if logits else LogprobsMode.RAW_LOGPROBS
    if same:
        return None  # a distribution with one possible token is the same at every temperature
    if logits or all(abs(cool[token] - _TWO[1] * hot[token]) <= 1e-3 * (1 + abs(cool[token])) for token in shared):
        return LogprobsMode.PROCESSED_LOGITS
    return LogprobsMode.PROCESSED_LOGPROBS


async def _reads_tool_calls(api: VLLMApi, body: Wire) -> bool:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    reply = await _chat(api, {**body, "tools": [tool], "tool_choice": "auto"})
    return reply.status == 200


_CONVERSATION: tuple[Wire, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "Thanks"},
)


async def _template_hash(api: VLLMApi, model: str) -> str | None:
    """Of the ids of a fixed conversation, without a system message for templates that have none."""
    for messages in (_CONVERSATION, _CONVERSATION[1:]):
        try:
            ids = await api.tokenize(messages, model=model)
        except ServerRefusedError:
            continue
        return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    return None
