"""Real servers: the shop, made with the SDK, in this process, in sandboxes and over HTTP; and one that is rude."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentenv.env import Action, StepResult
from agentenv.mcp.env import MCPEnv
from agentenv.messages import ToolCall, assistant
from agentenv.tasks import Task
from tests.support.local_sandboxes import host  # noqa: F401 - skips where there can be no sandboxes

collect_ignore = ["servers"]  # programs, which are no modules to look for doctests in
SERVERS = Path(__file__).parent / "servers"
TASK = Task.ask("visit", "Buy a lamp and a mug.")
BASKET = {"argument": "basket", "open": "open_basket", "close": "close_basket"}
SHOP: dict[str, Any] = {"command": [sys.executable, "shop.py"], "files": {"shop.py": str(SERVERS / "shop.py")}}
RUDE: dict[str, Any] = {"command": [sys.executable, "rude.py"], "files": {"rude.py": str(SERVERS / "rude.py")}}


@pytest.fixture
def shop() -> ModuleType:
    """A shop of its own, in this process."""
    spec = importlib.util.spec_from_file_location("shop", SERVERS / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module  # its annotations are looked up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shop_url() -> Iterator[str]:
    """The shop over streamable HTTP, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, str(SERVERS / "shop.py"), "http", str(port)]) as process:
        try:
            deadline = time.monotonic() + 60
            while not _listens(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def call(env: MCPEnv, name: str, /, **arguments: Any) -> StepResult:
    return await env.step(Action(assistant(None, ToolCall("c", name, json.dumps(arguments)))))


async def said(env: MCPEnv, name: str, /, **arguments: Any) -> str:
    return (await call(env, name, **arguments)).observation.messages[0].text


def error_of(result: StepResult) -> str | None:
    error: str | None = result.info["tools"][0]["error"]
    return error
