"""What each release of vLLM has, as data: routes, fields and habits, read from the released packages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Gate(StrEnum):
    """What a route depends on."""

    ALWAYS = "always"
    DEV = "VLLM_SERVER_DEV_MODE=1"
    LORA = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
    SCALE_OUT = "--enable-scale-out"
    """Without the flag: status 403."""


class Route(StrEnum):
    """`METHOD path` of what the fake can answer."""

    CHAT = "POST /v1/chat/completions"
    COMPLETIONS = "POST /v1/completions"
    MODELS = "GET /v1/models"
    TOKENIZE = "POST /tokenize"
    DETOKENIZE = "POST /detokenize"
    HEALTH = "GET /health"
    VERSION = "GET /version"
    LOAD = "GET /load"
    PING_GET = "GET /ping"
    PING_POST = "POST /ping"
    METRICS = "GET /metrics"
    OPENAPI = "GET /openapi.json"
    LOAD_LORA = "POST /v1/load_lora_adapter"
    UNLOAD_LORA = "POST /v1/unload_lora_adapter"
    GENERATE = "POST /inference/v1/generate"
    RENDER_CHAT = "POST /v1/chat/completions/render"
    RENDER_COMPLETION = "POST /v1/completions/render"
    DERENDER_CHAT = "POST /v1/chat/completions/derender"
    RESET_PREFIX_CACHE = "POST /reset_prefix_cache"
    COLLECTIVE_RPC = "POST /collective_rpc"
    SERVER_INFO = "GET /server_info"
    SLEEP = "POST /sleep"
    WAKE_UP = "POST /wake_up"
    IS_SLEEPING = "GET /is_sleeping"
    PAUSE = "POST /pause"
    RESUME = "POST /resume"
    IS_PAUSED = "GET /is_paused"
    ABORT_REQUESTS = "POST /abort_requests"
    ABORT_NAMED = "POST /inference/v1/abort_requests"
    INIT_TRANSFER = "POST /init_weight_transfer_engine"
    SHUTDOWN_TRANSFER = "POST /shutdown_weight_transfer_engine"
    START_UPDATE = "POST /start_weight_update"
    UPDATE_WEIGHTS = "POST /update_weights"
    FINISH_UPDATE = "POST /finish_weight_update"
    UPDATE_WEIGHT_VERSION = "POST /update_weight_version"
    WEIGHT_INFO = "GET /weight_info"
    WEIGHT_CHECKER = "POST /weight_checker"
    WORLD_SIZE = "GET /get_world_size"

    @property
    def method(self) -> str:
        return self.value.split()[0]

    @property
    def path(self) -> str:
        return self.value.split()[1]


class WhilePaused(StrEnum):
    """What happens to a new request while the server is paused with mode abort or wait."""

    QUEUED = "queued"
    """It waits for resume. So do all releases to 0.32, whatever their documentation says."""

    REJECTED = "rejected"
    """Status 503."""


class GenerateShape(StrEnum):
    """The reply of `/inference/v1/generate`."""

    MINIMAL = "minimal"
    """Choices alone, log-probabilities as in chat with `token_id:N` for text; no streaming."""

    STREAMING = "streaming"
    """As before, and it streams."""

    COUNTED = "counted"
    """With model, time of creation and usage."""

    BY_TOKEN = "by_token"
    """`{token_id, logprob, rank, top_logprobs}`, weight versions, and `output_mode` text."""


class RenderShape(StrEnum):
    """The reply of `/v1/chat/completions/render`."""

    CONVERSATION = "conversation"
    """`[conversation, [engine prompt]]`."""

    REQUEST = "request"
    """A body for `/inference/v1/generate`."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One release. Fields named `*_nulls` are those always present and null when nothing else is said."""

    version: str
    routes: dict[Route, Gate]
    message_nulls: tuple[str, ...]
    empty_tool_calls: bool
    """`tool_calls: []` in messages without any."""
    chat_choice_nulls: tuple[str, ...]
    chat_nulls: tuple[str, ...]
    completion_choice_nulls: tuple[str, ...]
    completion_nulls: tuple[str, ...]
    usage_nulls: tuple[str, ...]
    fingerprint: bool
    """`system_fingerprint` says something, and streams carry it at their end."""
    prompt_text: bool
    """`return_prompt_text`; the first chunk of a stream names `prompt_text` whether asked for or not."""
    stream_nulls: bool
    """Chunks of `/v1/completions` carry `usage: null`."""
    while_paused: WhilePaused = WhilePaused.QUEUED
    pause_modes: bool = False
    keep_is_reported: bool = True
    """`/is_paused` knows of mode keep."""
    keep_recomputes: bool = True
    """Requests frozen by mode keep compute their keys and values again, under the weights there are at resume."""
    sleeping_when_paused: bool = True
    sleep_says_status: bool = False
    reset_says_success: bool = False
    reload_takes_path: bool = True
    """`reload_weights` of `/collective_rpc` takes `weights_path`."""
    finish_takes_version: bool = False
    load_inplace: bool = True
    names_aliases: bool = False
    """The error about an unknown model lists the known ones."""
    weight_versions: bool = False
    """`return_weight_versions` on chat and completions."""
    generate: GenerateShape = GenerateShape.MINIMAL
    render: RenderShape = RenderShape.REQUEST

    def has(self, route: Route) -> bool:
        """Whether the release knows `route`, gated or not."""
        return route in self.routes


_ALWAYS = dict.fromkeys(
    (
        Route.CHAT,
        Route.COMPLETIONS,
        Route.MODELS,
        Route.TOKENIZE,
        Route.DETOKENIZE,
        Route.HEALTH,
        Route.VERSION,
        Route.LOAD,
        Route.PING_GET,
        Route.PING_POST,
        Route.METRICS,
        Route.OPENAPI,
    ),
    Gate.ALWAYS,
)
_LORA = {Route.LOAD_LORA: Gate.LORA, Route.UNLOAD_LORA: Gate.LORA}
_DEV = dict.fromkeys(
    (Route.RESET_PREFIX_CACHE, Route.COLLECTIVE_RPC, Route.SERVER_INFO, Route.SLEEP, Route.WAKE_UP, Route.IS_SLEEPING),
    Gate.DEV,
)
_PAUSING = (Route.PAUSE, Route.RESUME, Route.IS_PAUSED)


def _dev(*routes: Route) -> dict[Route, Gate]:
    return dict.fromkeys(routes, Gate.DEV)


V0_10_2 = Profile(
    version="0.10.2",
    routes=_ALWAYS | _LORA | _DEV,
    message_nulls=("refusal", "annotations", "audio", "function_call", "reasoning_content"),
    empty_tool_calls=True,
    chat_choice_nulls=("logprobs", "stop_reason", "token_ids"),
    chat_nulls=("service_tier", "system_fingerprint", "prompt_logprobs", "prompt_token_ids", "kv_transfer_params"),
    completion_choice_nulls=("logprobs", "stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids"),
    completion_nulls=("service_tier", "system_fingerprint", "kv_transfer_params"),
    usage_nulls=("prompt_tokens_details",),
    fingerprint=False,
    prompt_text=False,
    stream_nulls=True,
    keep_recomputes=False,
    sleeping_when_paused=False,
    reload_takes_path=False,
    load_inplace=False,
)
V0_12 = replace(
    V0_10_2,
    version="0.12.0",
    # Pausing is not yet a route of the developer's mode.
    routes=V0_10_2.routes | dict.fromkeys((*_PAUSING, Route.GENERATE), Gate.ALWAYS),
    message_nulls=("refusal", "annotations", "audio", "function_call", "reasoning", "reasoning_content"),
)
V0_16 = replace(
    V0_12,
    version="0.16.0",
    routes=V0_12.routes
    | _dev(*_PAUSING, Route.INIT_TRANSFER, Route.UPDATE_WEIGHTS, Route.WORLD_SIZE)
    | {Route.RENDER_CHAT: Gate.ALWAYS, Route.RENDER_COMPLETION: Gate.ALWAYS},
    message_nulls=("refusal", "annotations", "audio", "function_call", "reasoning"),
    pause_modes=True,
    keep_is_reported=False,
    reload_takes_path=True,
    load_inplace=True,
    render=RenderShape.CONVERSATION,
)
V0_21 = replace(
    V0_16,
    version="0.21.0",
    routes=V0_16.routes | _dev(Route.START_UPDATE, Route.FINISH_UPDATE),
    chat_choice_nulls=(*V0_16.chat_choice_nulls, "routed_experts"),
    chat_nulls=(*V0_16.chat_nulls, "prompt_text"),
    completion_choice_nulls=(*V0_16.completion_choice_nulls, "routed_experts"),
    fingerprint=True,
    prompt_text=True,
    stream_nulls=False,
    keep_is_reported=True,
    keep_recomputes=True,
    sleeping_when_paused=True,
    generate=GenerateShape.STREAMING,
    render=RenderShape.REQUEST,
)
V0_28 = replace(
    V0_21,
    version="0.28.0",
    routes=V0_21.routes
    | _dev(Route.UPDATE_WEIGHT_VERSION, Route.WEIGHT_INFO, Route.ABORT_REQUESTS)
    | {Route.DERENDER_CHAT: Gate.ALWAYS},
    empty_tool_calls=False,
    chat_nulls=(*V0_21.chat_nulls, "ec_transfer_params", "metrics"),
    completion_nulls=(*V0_21.completion_nulls, "ec_transfer_params", "metrics"),
    usage_nulls=("prompt_tokens_details", "completion_tokens_details"),
    reset_says_success=True,
    finish_takes_version=True,
    generate=GenerateShape.COUNTED,
)
V0_32 = replace(
    V0_28,
    version="0.32.0",
    routes=V0_28.routes
    | _dev(Route.WEIGHT_CHECKER, Route.SHUTDOWN_TRANSFER)
    | dict.fromkeys(
        (Route.GENERATE, Route.ABORT_NAMED, Route.RENDER_CHAT, Route.RENDER_COMPLETION, Route.DERENDER_CHAT),
        Gate.SCALE_OUT,
    ),
    sleep_says_status=True,
    names_aliases=True,
    generate=GenerateShape.BY_TOKEN,
)
V0_33 = replace(
    V0_32,
    version="0.33.0",
    chat_choice_nulls=(*V0_32.chat_choice_nulls, "weight_versions"),
    completion_choice_nulls=(*V0_32.completion_choice_nulls, "weight_versions"),
    while_paused=WhilePaused.REJECTED,
    weight_versions=True,
)

PROFILES = {
    "0.10.2": V0_10_2,
    "0.12": V0_12,
    "0.16": V0_16,
    "0.21": V0_21,
    "0.28": V0_28,
    "0.32": V0_32,
    "0.33": V0_33,
}
"""By the name given to `--profile`. 0.21.0 was withdrawn from the package index: its fields are those of 0.22.0, the
next release."""
