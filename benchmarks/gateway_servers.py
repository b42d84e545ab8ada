"""The servers of the gateway benchmarks, each in a process of its own: the model, and the gateways before it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.install import AGENT_LIGHTNING, LITELLM
from benchmarks.result import ROOT

START_SECONDS = 120
_TICKS = os.sysconf("SC_CLK_TCK")
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # without a key it has less to check
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        path: of a chat call in the n-th session.
    """

    name: str
    version: str
    pid: int
    url: str
    path: Callable[[int], str]

    def cpu_seconds(self) -> float:
        """User and system time so far, of all its processes and threads."""
        return sum(map(_cpu_seconds, _tree(self.pid)))


@contextmanager
def upstream(latency: str = "0") -> Iterator[Server]:
    """The model server with fixed answers; latency in seconds, or ``LOW-HIGH``."""
    command = [sys.executable, "-m", "benchmarks.gateway_upstream", "--latency", latency]
    with _process(command, talks=True) as process:
        yield Server("direct", "", process.pid, _line(process)["url"], _same_for_all)


@contextmanager
def gateway(upstream_url: str, *options: str) -> Iterator[Server]:
    """`agentenv serve gateway`, as a user starts it."""
    import agentenv

    program = str(Path(sys.executable).parent / "agentenv")
    command = [program, "serve", "gateway", upstream_url, "--port", "0", "--json", *options]
    with _process(command, talks=True) as process:
        url = _line(process)["url"]
        yield Server("agentenv", agentenv.__version__, process.pid, url, lambda n: f"/sessions/{n}/v1/chat/completions")


@dataclass(frozen=True, slots=True)
class SessionKeeper:
    """Our gateway in a process that says what it holds."""

    url: str
    process: subprocess.Popen[str]

    def held(self, sessions: int) -> dict[str, int]:
        """Bytes, ``resident`` and ``traced``. Raises `RuntimeError` unless just so many sessions are open."""
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        found: dict[str, int] = _line(self.process)
        if found["sessions"] != sessions:
            raise RuntimeError(f"{found['sessions']} sessions are open, expected {sessions}")
        return found


@contextmanager
def session_keeper(upstream_url: str, *, trace: bool) -> Iterator[SessionKeeper]:
    command = [sys.executable, "-m", "benchmarks.gateway_session_runner", upstream_url, *(["--trace"] if trace else [])]
    with _process(command, talks=True) as process:
        yield SessionKeeper(_line(process)["url"], process)


@contextmanager
def litellm(upstream_url: str) -> Iterator[Server]:
    """The LiteLLM proxy: one worker, no database, no callbacks, no keys."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"  # JSON is YAML
        config.write_text(
            json.dumps({"model_list": [_litellm_model(upstream_url)], "litellm_settings": {"telemetry": False}})
        )
        silent = Path(folder) / "logging.json"
        silent.write_text('{"version": 1}')  # no line for every request
        port = _free_port()
        command = [str(LITELLM.python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--num_workers", "1", "--log_config", str(silent)]
        with _process(command, _QUIET, cwd=folder) as process:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/health/liveliness", process)
            yield Server("LiteLLM proxy", LITELLM.version, process.pid, url, _same_for_all)


@contextmanager
def agent_lightning(upstream_url: str) -> Iterator[Server]:
    """agent-lightning's `LLMProxy` with its own middlewares and callbacks, which record every call in its store."""
    command = [str(AGENT_LIGHTNING.python), "-m", AGENT_LIGHTNING.runner, "--upstream", upstream_url]
    with tempfile.TemporaryDirectory() as folder:
        port, rollouts = _free_port(), Path(folder) / "rollouts.json"
        command += ["--port", str(port), "--rollouts", str(rollouts)]
        with _process(command, {**_QUIET, "TMPDIR": folder}) as process:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/health/liveliness", process)
            prefixes: list[str] = json.loads(rollouts.read_text())

            def path(n: int) -> str:
                return f"{prefixes[n % len(prefixes)]}/v1/chat/completions"

            yield Server("agent-lightning LLMProxy", AGENT_LIGHTNING.version, process.pid, url, path)


def _same_for_all(n: int) -> str:
    return "/v1/chat/completions"


def _litellm_model(upstream_url: str) -> Mapping[str, object]:
    parameters = {"model": "hosted_vllm/mock", "api_base": f"{upstream_url}/v1", "api_key": "none"}
    return {"model_name": "mock", "litellm_params": parameters}


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: str | Path = ROOT, *, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Runs a command until the block ends; what it said is shown when something fails.

    Args:
        talks: its standard output is read here.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            text=True,
        )
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the server ended before it had said what was asked")
    found: dict[str, Any] = json.loads(line)
    return found


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    """Waits until the URL answers 200."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return [pid, *(below for child in found for below in _tree(child))]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
