"""What the quick tests of the vLLM policy share: a small stub of a server, and a stub of the Python that runs one."""

from __future__ import annotations

import asyncio
import json
import math
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from agentenv_vllm import supervisor
from agentenv_vllm.options import LogprobsMode

LOGITS = (2.0, 1.0, 0.5, -1.0, -3.0)
"""Of the five tokens the stub's model has."""

ADMIN_ROUTES = (
    "/pause", "/resume", "/is_paused", "/reset_prefix_cache", "/collective_rpc", "/update_weight_version",
    "/weight_info", "/server_info",
)  # fmt: skip


@dataclass
class StubServer:
    """A vLLM server without an engine. What is left away from it is what a probe must find missing.

    Attributes:
        chat: answers a chat body with a status and a body, in place of the stub's own answer.
        published: whether it says which routes it has (`/openapi.json`).
        requests: bodies of the chat requests so far.
    """

    dev_mode: bool = True
    published: bool = True
    logprobs_mode: LogprobsMode = LogprobsMode.PROCESSED_LOGPROBS
    tool_parser: bool = True
    token_ids: bool = True
    weight_versions: bool = False
    chat_template: bool = True
    lora: bool = False
    paused: bool = False
    healthy: bool = True
    root: str = "/models/m"
    chat: Callable[[dict[str, Any]], Awaitable[tuple[int, dict[str, Any]]]] | None = None
    silent: asyncio.Event | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serves it; the server's root."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.silent is not None:
            await self.silent.wait()
        status, body = await self._answer(request)
        return web.json_response(body, status=status)

    def _routes(self) -> list[str]:
        routes = ["/health", "/version", "/v1/models", "/tokenize", "/v1/chat/completions"]
        routes += ["/v1/load_lora_adapter"] if self.lora else []
        return routes + list(ADMIN_ROUTES if self.dev_mode else ())

    async def _answer(self, request: web.BaseRequest) -> tuple[int, Any]:
        path = request.path
        if path == "/openapi.json" and self.published:
            paths: dict[str, Any] = {route: {} for route in self._routes()}
            if self.dev_mode:
                paths["/pause"] = {"post": {"parameters": [{"name": "mode"}]}}
            return 200, {"paths": paths}
        if path not in self._routes():
            return 404, {"detail": "Not Found"}
        if request.method == "PUT":
            return 405, {"detail": "Method Not Allowed"}
        match path:
            case "/health":
                return (200 if self.healthy else 503), None
            case "/version":
                return 200, {"version": "0.16.0"}
            case "/v1/models":
                return 200, {"data": [{"id": "m", "root": self.root, "max_model_len": 128}]}
            case "/is_paused":
                return 200, {"is_paused": self.paused}
            case "/resume":
                self.paused = False
                return 200, {}
            case "/weight_info":
                return 200, {"weight_version": "default"}
            case "/tokenize":
                return 200, {"tokens": [1, 2, 3]}
            case "/v1/load_lora_adapter":
                return 400, {"error": {"message": "No adapter found for /nowhere"}}
            case "/v1/chat/completions":
                return await self._complete(await request.json())
        return 200, {}

    async def _complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.requests.append(body)
        if not self.chat_template:
            return 400, {"error": {"message": "As of transformers v4.44, default chat template is no longer allowed"}}
        if body.get("tools") and not self.tool_parser:
            return 400, {"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice'}}
        if self.chat is not None:
            return await self.chat(body)
        return 200, self.completion(body)

    def completion(self, body: dict[str, Any], **choice: Any) -> dict[str, Any]:
        """One greedy token of the stub's model."""
        values = self._values(float(body.get("temperature", 1.0)))
        top = [{"token": str(id), "bytes": [48 + id], "logprob": value} for id, value in enumerate(values)]
        first: dict[str, Any] = {
            "message": {"role": "assistant", "content": "0"},
            "finish_reason": "length",
            "logprobs": {"content": [{**top[0], "top_logprobs": top}]},
        }
        answer: dict[str, Any] = {"model": "m", "choices": [first]}
        if self.token_ids:
            answer["prompt_token_ids"] = [7, 8]
            first["token_ids"] = [0]
        if self.weight_versions:
            first["weight_versions"] = [{"version": "default", "start": 0, "end": 1}]
        first.update(choice)
        return answer

    def _values(self, temperature: float) -> list[float]:
        processed = self.logprobs_mode in (LogprobsMode.PROCESSED_LOGITS, LogprobsMode.PROCESSED_LOGPROBS)
        logits = [logit / temperature for logit in LOGITS] if processed else list(LOGITS)
        if self.logprobs_mode in (LogprobsMode.RAW_LOGITS, LogprobsMode.PROCESSED_LOGITS):
            return logits
        total = math.log(sum(map(math.exp, logits)))
        return [logit - total for logit in logits]


HEALTHY = """
import http.server, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print("INFO 01-01 00:00:00 [core.py:1] Loading weights", flush=True)
server.serve_forever()
"""
"""A server that is healthy at once; `port` is defined before it."""

WITH_ENGINES = """
import subprocess, sys
engine = "import time; time.sleep(600)"
subprocess.Popen([sys.executable, "-c", engine], start_new_session=True)
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", stubborn])
"""
"""Two children, one in a session of its own, and one that does not heed SIGTERM."""


def stub_python(folder: Path, server: str) -> Path:
    """An executable that passes for a Python that has vllm, and runs `server` when told to start one."""
    source = folder / "stub_server.py"
    source.write_text(f"import sys\nport = int(sys.argv[sys.argv.index('--port') + 1])\n{server}")
    python = folder / "python"
    answer = json.dumps({"vllm": True, "version": "0.0-stub", "cpu": True})
    python.write_text(f"#!/bin/sh\ncase $1 in -I) echo '{answer}';; *) exec {sys.executable} {source} \"$@\";; esac\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def model_folder(folder: Path) -> Path:
    """A folder that looks like a model's from outside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder


def processes_with(text: str) -> list[int]:
    """Ids of living processes whose command line or environment holds `text`."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            told = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
            zombie = b") Z " in Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue
        if text.encode() in told and not zombie and int(name) != os.getpid():
            found.append(int(name))
    return found


def descendants(pid: int | None) -> list[int]:
    """Ids of the processes below one."""
    assert pid is not None
    return supervisor.descendants(pid)


def alive(pid: int) -> bool:
    """Whether the process lives; one that ended and is not reaped does not."""
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


async def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Waits for something another process does."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another process sets no event of ours
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
