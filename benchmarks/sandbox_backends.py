"""One execution of `print(1)`, by every backend, next to a plain process and to `docker exec`.

They take turns, call by call, each in a sandbox that has run before. `docker exec` runs in the container of one of our
sandboxes, as its user. The engine is the one that runs, or one that is started for this (as root).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from agentenv.sandbox import Limits, Sandbox
from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv_docker import DockerSandboxes
from agentenv_local import LocalSandboxes
from agentenv_remote import RemoteSandboxes
from benchmarks.result import Result, Table, milliseconds
from tests.support.docker_engine import docker_engine

CALLS = 40
CODE = "print(1)"
LIMITS = Limits(pids=128)
LABELS = {
    "plain": "a plain process",
    "local": "local",
    "remote": "local, behind a service on the same machine",
    "docker": "docker",
    "exec": "`docker exec` in the same container",
}
Call = Callable[[], Awaitable[None]]


def run(rounds: int = 5) -> Result:
    with docker_engine() as engine:
        found = [asyncio.run(_measure(engine.url)) for _ in range(rounds)]
    middle = {name: statistics.median(one[name] for one in found) for name in LABELS}
    ratios = {name: statistics.median(one[name] / one["exec"] for one in found) for name in LABELS}
    verdict = (
        f"`print(1)` takes {milliseconds(middle['docker'])} ms in a container of ours, {ratios['docker']:.2f} of "
        f"`docker exec`'s {milliseconds(middle['exec'])}; {milliseconds(middle['local'])} in a local sandbox, and "
        f"{milliseconds(middle['remote'] - middle['local'])} more behind a service."
    )
    rows = [[LABELS[name], f"{milliseconds(middle[name])} ms", f"{ratios[name]:.2f}"] for name in LABELS]
    table = Table(["`print(1)`, a sandbox used before", "median", "of docker exec"], rows)
    return Result("sandbox_backends", verdict, table, {"rounds": found})


async def _measure(url: str) -> dict[str, float]:
    async with (
        LocalSandboxes(limits=LIMITS, warm=0) as local,
        SandboxService(LocalSandboxes(limits=LIMITS, warm=0), ServiceConfig(port=0)) as service,
        RemoteSandboxes(service.url) as remote,
        DockerSandboxes(limits=LIMITS, warm=0, url=url) as docker,
        local.sandbox() as near,
        remote.sandbox() as far,
        docker.sandbox() as container,
    ):
        command = ["docker", "--host", url, "exec", "--user", "1000", str(container.container), "python3"]
        return await _in_turns(
            {
                "plain": lambda: _process([sys.executable, "-I", "-c", CODE]),
                "local": lambda: _sandboxed(near),
                "remote": lambda: _sandboxed(far),
                "docker": lambda: _sandboxed(container),
                "exec": lambda: _process([*command, "-I", "-c", CODE]),
            }
        )


async def _in_turns(contestants: dict[str, Call]) -> dict[str, float]:
    """The median seconds of each, called one after another."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(CALLS):
        for name, call in contestants.items():
            began = time.perf_counter()
            await call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


async def _sandboxed(sandbox: Sandbox) -> None:
    assert (await sandbox.run_python(CODE)).ok


async def _process(command: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    written, _ = await process.communicate()
    assert written == b"1\n"
