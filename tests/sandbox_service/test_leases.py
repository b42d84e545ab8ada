"""A sandbox lives as long as somebody cares for it, and not longer than its client, however that ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from agentenv.sandbox import Cause, SandboxFailed
from agentenv.sandbox.service import SandboxService
from agentenv_local import LocalSandboxes
from agentenv_remote import RemoteSandboxes
from tests.sandbox.test_lifetime import children
from tests.sandbox_service.asking import ask, opened, serving, until

CLIENT = """
import asyncio, sys
from agentenv_remote import RemoteSandboxes

async def main():
    async with RemoteSandboxes(sys.argv[1]) as sandboxes:
        sandbox = await sandboxes.create()
        await sandbox.exec("setsid sleep 1000 & echo here > here")
        await sandbox.python()
        print("ready", flush=True)
        await sandbox.exec("sleep 1000", wall_seconds=20)

asyncio.run(main())
"""


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def processes(service: SandboxService) -> set[int]:
    return children(cast("LocalSandboxes", service.backend).pid)


async def test_a_lease_is_renewed_by_use_and_by_heartbeats_and_ends_without() -> None:
    clock = Clock()
    async with serving(clock, lease=60) as service:
        used, beaten, left = [await opened(service) for _ in range(3)]
        clock.seconds = 40
        await ask(service, "POST", f"{used}/exec", {"command": "true"})
        beat = await ask(service, "POST", "/heartbeat", {"sandboxes": [beaten.rpartition("/")[2], "unknown"]})
        assert beat.json == {"sandboxes": [beaten.rpartition("/")[2]]}
        clock.seconds = 61
        assert await service.state.reap() == 1
        gone = await ask(service, "POST", f"{left}/exec", {"command": "true"})
        assert (gone.status, gone.code) == (410, "lease_expired")
        assert "for its lease of 60 s" in gone.json["error"]["message"]
        assert {(await ask(service, "GET", f"{one}/stats")).status for one in (used, beaten)} == {200}
        assert "agentenv_sandbox_expired_total 1\n" in service.state.metrics_page()


async def test_a_lease_does_not_end_under_a_request() -> None:
    clock = Clock()
    async with serving(clock) as service, RemoteSandboxes(service.url) as sandboxes, sandboxes.sandbox() as sandbox:
        running = asyncio.create_task(sandbox.exec("while ! [ -e go ]; do sleep 0.02; done"))
        await until(lambda: service.state.view().running)
        clock.seconds = 1000
        assert await service.state.reap() == 0
        await sandbox.write("go", b"")
        assert (await running).cause is Cause.OK


async def test_a_client_tells_a_lease_that_is_over_from_a_program_that_fails() -> None:
    clock = Clock()
    async with serving(clock) as service, RemoteSandboxes(service.url) as sandboxes, sandboxes.sandbox() as sandbox:
        clock.seconds = 1000
        await service.state.reap()
        with pytest.raises(SandboxFailed, match="nobody used the sandbox") as failure:
            await sandbox.exec("true")
        assert failure.value.result is not None
        assert failure.value.result.cause is Cause.INFRA


async def test_a_client_keeps_its_sandboxes_while_it_does_nothing() -> None:
    async with serving(lease=0.6) as service, RemoteSandboxes(service.url) as sandboxes, sandboxes.sandbox() as sandbox:
        await asyncio.sleep(1.5)  # two leases and a half: time is what is tested here
        assert (await sandbox.exec("echo still here")).stdout.text == "still here\n"


async def test_a_client_that_is_killed_leaves_nothing() -> None:
    async with serving(lease=0.5) as service:
        program = [sys.executable, "-c", CLIENT, service.url]
        client = await asyncio.create_subprocess_exec(*program, stdout=subprocess.PIPE)
        assert client.stdout is not None
        assert await client.stdout.readline() == b"ready\n"
        assert len(processes(service)) >= 3
        client.kill()
        await client.wait()
        await until(lambda: not (service.state.leases.occupied or service.state.view().running or processes(service)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_a_service_that_ends_is_no_programs_failure_and_leaves_nothing(number: signal.Signals) -> None:
    command = "from agentenv.cli import main; main()"
    options = ["sandbox", "serve", "--port", "0", "--json", "--backend.warm", "1"]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().split('"')[3]
    async with RemoteSandboxes(url) as sandboxes:
        sandbox = await sandboxes.create()
        running = asyncio.create_task(sandbox.exec("sleep 1000", wall_seconds=9))
        while not (await sandbox.exec("pgrep sleep")).ok:
            pass
        left = {pid for pid in children(server.pid) if _command(pid)}
        server.send_signal(number)
        with pytest.raises(SandboxFailed) as failure:
            await running
        assert failure.value.result is not None
        assert failure.value.result.cause is Cause.INFRA
        _, said = await server.communicate()
        assert server.returncode == (0 if number is signal.SIGINT else -number)
        assert (b"stopped; 1 open sandboxes closed" in said) is (number is signal.SIGINT)
        await until(lambda: not any(map(_command, left)))


def _command(pid: int) -> bytes:
    """How a process was called; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
