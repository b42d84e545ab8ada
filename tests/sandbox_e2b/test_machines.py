"""Machines live as long as somebody cares for them, and their service's failures are nobody's else."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from agentenv.errors import ConfigError, UnsupportedError
from agentenv.sandbox import Cause, Limits, Network, Sandbox, SandboxFailed
from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv_e2b import E2BSandboxes
from agentenv_remote import RemoteSandboxes
from tests.sandbox_e2b.conftest import ACCEPTED
from tests.support.fake_e2b import API_KEY, FakeE2B

CLIENT = """
import asyncio, sys
from agentenv.sandbox import Promise
from agentenv_e2b import E2BSandboxes

async def main():
    url, key = sys.argv[1:]
    made = E2BSandboxes(api_key=key, url=url, sandbox_url=url, lifetime=3.0, without=list(Promise))
    async with made as sandboxes, sandboxes.sandbox() as sandbox:
        print("made", flush=True)
        await sandbox.exec("sleep 1000", wall_seconds=600)

asyncio.run(main())
"""


async def test_what_the_service_cannot_promise_has_to_be_accepted_by_name() -> None:
    with pytest.raises(ConfigError, match=r"unprivileged user.*without=\[Promise.UNPRIVILEGED, Promise.MEMORY"):
        await E2BSandboxes(api_key="any").open()


async def test_a_key_that_is_not_known_or_missing_is_named(service: FakeE2B, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"401: Invalid API key.*E2B_API_KEY"):
        await E2BSandboxes(api_key="wrong", url=service.url, without=ACCEPTED).open()
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="E2B_API_KEY"):
        E2BSandboxes()


async def test_a_template_that_is_not_there_is_named(service: FakeE2B) -> None:
    made = E2BSandboxes(api_key=API_KEY, url=service.url, template="nothing", without=ACCEPTED)
    async with made as sandboxes:
        with pytest.raises(ConfigError, match="template 'nothing' not found"):
            await sandboxes.create()


async def test_nobody_answering_is_a_failure_of_the_sandbox() -> None:
    with pytest.raises(SandboxFailed, match="was lost"):
        await E2BSandboxes(api_key="any", url="http://127.0.0.1:9", without=ACCEPTED).open()


async def test_a_busy_service_is_asked_again(service: FakeE2B, sandboxes: E2BSandboxes) -> None:
    service.busy = 1
    async with await sandboxes.create() as sandbox:
        assert (await sandbox.exec("true")).ok


async def test_the_network_is_closed_unless_it_is_asked_for(service: FakeE2B, sandboxes: E2BSandboxes) -> None:
    async with await sandboxes.create(), await sandboxes.create(Limits(network=Network.HOST)):
        assert [machine.asked["allow_internet_access"] for machine in service.machines.values()] == [False, True]


async def test_a_list_of_what_may_be_reached_is_what_the_service_lets_through(
    service: FakeE2B, sandboxes: E2BSandboxes
) -> None:
    listed = ("pypi.org", "*.pythonhosted.org", "192.0.2.0/24")
    async with await sandboxes.create(Limits(network=Network.LISTED, reachable=listed)), await sandboxes.create():
        asked, nothing = (machine.asked for machine in service.machines.values())
    assert asked["network"] == {"allowOut": list(listed), "denyOut": ["0.0.0.0/0"]}
    assert asked["allow_internet_access"] is False
    assert "network" not in nothing


async def test_a_sandbox_service_passes_a_list_on(service: FakeE2B, sandboxes: E2BSandboxes) -> None:
    limits = Limits(network=Network.LISTED, reachable=("pypi.org",))
    async with (
        SandboxService(sandboxes, ServiceConfig(port=0)) as served,
        RemoteSandboxes(served.url) as remote,
        await remote.create(limits) as sandbox,
    ):
        assert sandbox.limits == limits
        (machine,) = service.machines.values()
    assert machine.asked["network"] == {"allowOut": ["pypi.org"], "denyOut": ["0.0.0.0/0"]}


async def test_a_machine_that_is_gone_is_no_programs_failure(service: FakeE2B, sandbox: Sandbox) -> None:
    await service.end(next(iter(service.machines)))
    with pytest.raises(SandboxFailed, match="not found") as failure:
        await sandbox.exec("true")
    assert failure.value.result is not None
    assert failure.value.result.cause is Cause.INFRA


async def test_leaving_the_backend_leaves_no_machine(service: FakeE2B) -> None:
    url = service.url
    async with E2BSandboxes(api_key=API_KEY, url=url, sandbox_url=url, without=ACCEPTED) as sandboxes:
        await sandboxes.create()
        await sandboxes.create()
        assert len(service.machines) == 2
    assert not service.machines


async def test_killing_the_client_leaves_no_machine(service: FakeE2B) -> None:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, service.url, API_KEY, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    assert await client.stdout.readline() == b"made\n"
    assert len(service.machines) == 1
    client.kill()
    await client.wait()
    async with asyncio.timeout(20):
        while service.machines:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_there_are_no_sessions(sandbox: Sandbox) -> None:
    with pytest.raises(UnsupportedError, match="no Python sessions"):
        await sandbox.python()
