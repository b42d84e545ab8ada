"""`VLLMApi`: a typed client of the administration routes of one vLLM server.

The routes and the release each came with are in the docstrings, as read from the released packages 0.10 to 0.33;
those marked (dev) exist only when the server runs with `VLLM_SERVER_DEV_MODE=1`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import aiohttp
import yarl

from agentenv.errors import ConfigError
from agentenv.messages import Wire
from agentenv_openai.wire import error_words
from agentenv_vllm.errors import RouteMissingError, ServerRefusedError, ServerUnreachableError

QUICK_SECONDS = 30.0
"""Longest wait for a route that does no work on the model."""

SLOW_SECONDS = 600.0
"""Longest wait for a route that loads weights or waits for requests in flight."""


class PauseMode(StrEnum):
    """What `/pause` does with requests in flight.

    New ones queue until resume in every mode up to 0.32 (seen there); 0.33 answers them 503 while it aborts or waits.
    """

    ABORT = "abort"
    """They end at once: status 200, `finish_reason: "abort"`, the tokens so far."""

    WAIT = "wait"
    """They finish first."""

    KEEP = "keep"
    """They are frozen and go on after resume, with whatever weights there are then."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A row of `/v1/models`.

    Attributes:
        id: the name to ask for.
        root: the folder or hub name it was loaded from, as the server says.
        parent: the base model of a LoRA adapter; `None` for a base model.
        max_model_len: most tokens of prompt and answer together; `None` when the server does not say.
    """

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it came: for callers that read statuses themselves."""

    status: int
    body: Any
    """Parsed JSON; the text when it is none; `None` when empty."""


class VLLMApi:
    """One vLLM server's administration routes. Every call has a timeout.

    Args:
        base_url: with or without `/v1` at its end.
        api_key: sent as a bearer token.

    All calls raise:
        ServerUnreachableError: no answer.
        RouteMissingError: status 404 or 405.
        ServerRefusedError: any other status but 2xx.

    Example:
        async with VLLMApi("http://127.0.0.1:8000") as api:
            await api.pause(PauseMode.KEEP)
            await api.collective_rpc("reload_weights", kwargs={"weights_path": "runs/weights/7"})
            await api.reset_prefix_cache()
            await api.resume()
    """

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        self.root = server_root(base_url)
        self._api_key = api_key
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        # uvicorn closes idle connections after 5 s; a request sent into one just closing would fail for nothing.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # --- what it is -------------------------------------------------------------------------------------------------

    async def health(self, timeout: float = 5.0) -> None:
        """`GET /health` (always). 503 means that the engine behind the server is dead."""
        await self.get("/health", timeout=timeout)

    async def version(self) -> str:
        """`GET /version` (always)."""
        return str(_field(await self.get("/version"), "version", "/version"))

    async def openapi(self) -> Wire | None:
        """`GET /openapi.json`: the schema of all routes; `None` where the server was told not to publish it."""
        reply = await self.send("GET", "/openapi.json")
        found = reply.status == 200 and isinstance(reply.body, dict) and isinstance(reply.body.get("paths"), dict)
        return reply.body if found else None

    async def models(self) -> tuple[ServedModel, ...]:
        """`GET /v1/models` (always): base models first, then LoRA adapters."""
        rows = _field(await self.get("/v1/models"), "data", "/v1/models")
        return tuple(
            ServedModel(str(row["id"]), row.get("root"), row.get("parent"), row.get("max_model_len")) for row in rows
        )

    async def server_info(self) -> Wire | None:
        """`GET /server_info?config_format=json` (dev): the whole configuration; `None` where there is no such route."""
        reply = await self.send("GET", "/server_info", query={"config_format": "json"}, timeout=60.0)
        return reply.body if reply.status == 200 and isinstance(reply.body, dict) else None

    async def world_size(self, *, include_dp: bool = True) -> int:
        """`GET /get_world_size` (dev, 0.16): the number of workers, those of data parallelism included or not."""
        reply = await self.get("/get_world_size", query={"include_dp": str(include_dp).lower()})
        return int(_field(reply, "world_size", "/get_world_size"))

    async def tokenize(
        self,
        messages: Sequence[Wire] | None = None,
        tools: Sequence[Wire] | None = None,
        *,
        prompt: str | None = None,
        model: str | None = None,
        add_generation_prompt: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """`POST /tokenize` (always): ids of a conversation under the chat template, or of a `prompt`.

        `options` go into the body as they are: `chat_template_kwargs`, `continue_final_message`, ...
        """
        body: Wire = {} if model is None else {"model": model}
        if prompt is not None:
            body["prompt"] = prompt
        else:
            body |= {"messages": list(messages or ()), "add_generation_prompt": add_generation_prompt}
            if tools:
                body["tools"] = list(tools)
        ids: list[int] = _field(await self.post("/tokenize", {**body, **(options or {})}), "tokens", "/tokenize")
        return ids

    # --- pausing ----------------------------------------------------------------------------------------------------

    async def pause(self, mode: PauseMode = PauseMode.ABORT, *, timeout: float = SLOW_SECONDS) -> None:
        """`POST /pause?mode=` (dev, 0.12; modes 0.16: older servers ignore the mode and abort)."""
        await self.post("/pause", query={"mode": mode.value}, timeout=timeout)

    async def resume(self) -> None:
        """`POST /resume` (dev, 0.12)."""
        await self.post("/resume")

    async def is_paused(self) -> bool:
        """`GET /is_paused` (dev, 0.12)."""
        return bool(_field(await self.get("/is_paused"), "is_paused", "/is_paused"))

    async def reset_prefix_cache(self, *, reset_running_requests: bool = False) -> bool:
        """`POST /reset_prefix_cache` (dev): forgets cached keys and values; `False` when blocks are still held.

        With `reset_running_requests` (0.14) frozen requests give theirs up too and compute them again. Servers that do
        not say whether they succeeded (before 0.28) are taken at their status.
        """
        query = {"reset_running_requests": "true"} if reset_running_requests else None
        reply = await self.post("/reset_prefix_cache", query=query)
        return bool(reply.get("success", True)) if isinstance(reply, dict) else True

    # --- weights ----------------------------------------------------------------------------------------------------

    async def collective_rpc(
        self,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float = SLOW_SECONDS,
    ) -> list[Any]:
        """`POST /collective_rpc` (dev, 0.10.2): runs a method on every worker; one result each, as JSON or text."""
        body = {"method": method, "args": list(args), "kwargs": dict(kwargs or {}), "timeout": timeout}
        reply = await self.post("/collective_rpc", body, timeout=timeout + QUICK_SECONDS)
        return list(reply.get("results") or []) if isinstance(reply, dict) else []

    async def init_weight_transfer_engine(self, init_info: Mapping[str, Any], *, timeout: float = SLOW_SECONDS) -> None:
        """`POST /init_weight_transfer_engine` (dev, 0.16; needs `--weight-transfer-config`)."""
        await self.post("/init_weight_transfer_engine", {"init_info": dict(init_info)}, timeout=timeout)

    async def start_weight_update(
        self, options: Mapping[str, Any] | None = None, *, timeout: float = SLOW_SECONDS
    ) -> None:
        """`POST /start_weight_update` (dev, 0.21): from here to finish the weights are neither the old nor the new."""
        await self.post("/start_weight_update", dict(options) if options else None, timeout=timeout)

    async def update_weights(self, update_info: Mapping[str, Any], *, timeout: float = SLOW_SECONDS) -> None:
        """`POST /update_weights` (dev, 0.16): the whole update in two-phase servers, one part of it in newer ones."""
        await self.post("/update_weights", {"update_info": dict(update_info)}, timeout=timeout)

    async def finish_weight_update(self, weight_version: str | None = None, *, timeout: float = SLOW_SECONDS) -> None:
        """`POST /finish_weight_update` (dev, 0.21; `weight_version` 0.27)."""
        body = None if weight_version is None else {"weight_version": weight_version}
        await self.post("/finish_weight_update", body, timeout=timeout)

    async def update_weight_version(self, version: str) -> None:
        """`POST /update_weight_version` (dev, 0.27): stamps what is sampled from now on."""
        await self.post("/update_weight_version", {"new_version": version})

    async def weight_version(self) -> str:
        """`GET /weight_info` (dev, 0.27): the stamp; "default" when none was set."""
        return str(_field(await self.get("/weight_info"), "weight_version", "/weight_info"))

    async def load_lora_adapter(
        self, name: str, path: str, *, load_inplace: bool = True, timeout: float = SLOW_SECONDS
    ) -> None:
        """`POST /v1/load_lora_adapter` (needs `--enable-lora`; `load_inplace`, to replace one of that name, 0.15)."""
        body: Wire = {"lora_name": name, "lora_path": path}
        if load_inplace:
            body["load_inplace"] = True
        await self.post("/v1/load_lora_adapter", body, timeout=timeout)

    async def unload_lora_adapter(self, name: str) -> None:
        """`POST /v1/unload_lora_adapter` (needs `--enable-lora`)."""
        await self.post("/v1/unload_lora_adapter", {"lora_name": name})

    # --- any route --------------------------------------------------------------------------------------------------

    async def get(self, path: str, *, query: Mapping[str, str] | None = None, timeout: float = QUICK_SECONDS) -> Any:
        """The JSON that `GET path` answers."""
        return self._accepted(path, await self.send("GET", path, query=query, timeout=timeout))

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float = QUICK_SECONDS,
    ) -> Any:
        """The JSON that `POST path` answers."""
        return self._accepted(path, await self.send("POST", path, body, query=query, timeout=timeout))

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float = QUICK_SECONDS,
    ) -> Reply:
        """Any request; the reply whatever its status. Raises `ServerUnreachableError` alone."""
        if self._http is None:
            raise ConfigError("open the client first: async with VLLMApi(...) as api")
        url = self.root.joinpath(path.lstrip("/"))
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 10.0))
        try:
            async with self._http.request(method, url, json=body, params=query, timeout=limits) as response:
                return Reply(response.status, _parsed(await response.read()))
        except TimeoutError as error:
            raise ServerUnreachableError(
                f"{url}: no answer in {timeout:g} s; the server is overloaded or hangs, its log says which"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerUnreachableError(
                f"{url}: {type(error).__name__}: {error}. Is the vLLM server running there?"
            ) from error

    def _accepted(self, path: str, reply: Reply) -> Any:
        if 200 <= reply.status < 300:
            return reply.body
        words = error_words(json.dumps(reply.body).encode())
        if reply.status in (404, 405):
            raise RouteMissingError(f"{self.root}: there is no {path}.{_enabled_by(path)} ({words})", reply.status)
        raise ServerRefusedError(f"{self.root}: {path} answered {reply.status}: {words}", reply.status)


def server_root(base_url: str) -> yarl.URL:
    """The server's root, of a URL with or without `/v1` at its end.

    >>> server_root("http://127.0.0.1:8000/v1/")
    URL('http://127.0.0.1:8000')
    """
    try:
        url = yarl.URL(base_url.rstrip("/").removesuffix("/v1"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{base_url!r} is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{base_url!r} is no URL; write for example http://127.0.0.1:8000/v1")
    return url


def _enabled_by(path: str) -> str:
    if path.endswith("lora_adapter"):
        return " Start the server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."
    if path.startswith("/v1/") or path in ("/health", "/version", "/tokenize"):
        return " Is the URL that of a vLLM server's root?"
    return " Start the server with VLLM_SERVER_DEV_MODE=1; if it is, its vLLM is too old."


def _parsed(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _field(body: Any, name: str, path: str) -> Any:
    if not isinstance(body, dict) or name not in body:
        raise ServerRefusedError(f"{path} answered {str(body)[:200]!r}, not what a vLLM server answers", 200)
    return body[name]
