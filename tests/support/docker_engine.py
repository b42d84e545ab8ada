"""One Docker engine for all tests: the one that runs, or one of our own with everything below the repository's .docker.

As root, `scripts/make-docker` has installed what it needs. Its images stay in .docker, so they are made once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".docker"
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """A running engine, and whether gVisor is one of its runtimes."""

    url: str
    gvisor: bool


class NoEngineError(Exception):
    """There is none, and none can be started; the message says why."""


@contextmanager
def docker_engine() -> Iterator[DockerEngine]:
    """An engine with the image `agentenv/base`, until the end of the block. One process at a time has it.

    Raises:
        NoEngineError: there is none, and none can be started.
    """
    DATA.mkdir(exist_ok=True)
    with (DATA / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = os.environ.get("DOCKER_HOST")
        if running is None and _answers("unix:///var/run/docker.sock"):
            running = "unix:///var/run/docker.sock"
        if running is not None:
            _make_base(running)
            yield DockerEngine(running, gvisor="runsc" in _ask(running, "info", "--format", "{{json .Runtimes}}"))
            return
        with _started() as engine:
            _make_base(engine.url)
            yield engine


@pytest.fixture(scope="session")
def running_docker() -> Iterator[DockerEngine]:
    """An engine, with `DOCKER_HOST` set to it. Tests that use it belong to the xdist group `docker`, to share it."""
    from tests.conftest import require

    before = os.environ.get("DOCKER_HOST")
    try:
        with docker_engine() as running:
            yield running
    except NoEngineError as error:
        require(False, f"a Docker engine: {error}")
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before is not None:
            os.environ["DOCKER_HOST"] = before


@contextmanager
def _started() -> Iterator[DockerEngine]:
    """An engine of our own, ended with everything that runs in it."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngineError(
            "no Docker engine runs here, and only root with `dockerd` (scripts/make-docker) can start one"
        )
    runsc = shutil.which("runsc")
    with tempfile.TemporaryDirectory(prefix="agentenv-docker-") as folder:
        url = f"unix://{folder}/docker.sock"
        options = ["--data-root", str(DATA / "data"), "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        if runsc:  # Debian's build starts only on ptrace, and without a network
            runtimes = {"runsc": {"path": runsc, "runtimeArgs": ["--platform=ptrace", "--network=none"]}}
            (Path(folder) / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
            options += ["--config-file", f"{folder}/daemon.json"]
        with (DATA / "log.txt").open("wb") as log:
            # It ends with this process, also where that is killed.
            command = ["setpriv", "--pdeathsig", "TERM", "dockerd", "--host", url, "--bridge", "none", *options]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                _wait_for(url, process)
                yield DockerEngine(url, gvisor=runsc is not None)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            last = (DATA / "log.txt").read_text(errors="replace").strip().splitlines()[-3:]
            raise NoEngineError(f"dockerd does not start here: {' | '.join(last)}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        done = subprocess.run(
            ["docker", "version"], env=os.environ | {"DOCKER_HOST": url}, capture_output=True, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _make_base(url: str) -> None:
    os.environ["DOCKER_HOST"] = url
    from agentenv.errors import ConfigError
    from agentenv_docker.images import build

    if not _ask(url, "images", "--quiet", "agentenv/base"):
        try:
            build("base")
        except ConfigError as error:
            raise NoEngineError(f"the image agentenv/base cannot be made: {error}") from error


def _ask(url: str, *command: str) -> str:
    env = os.environ | {"DOCKER_HOST": url}
    return subprocess.run(["docker", *command], env=env, capture_output=True, text=True, timeout=60).stdout.strip()
