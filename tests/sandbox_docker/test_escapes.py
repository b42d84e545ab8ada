"""Attempts to get out of a container, to look in from inside, or to take the host down. Each must fail."""

from __future__ import annotations

import pytest

from agentenv.sandbox.attacks import ATTACKS, Attack, attack
from agentenv_docker import DockerSandboxes
from agentenv_docker.sandbox import DockerSandbox

pytestmark = pytest.mark.xdist_group("docker")


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name.replace(" ", "_"))
async def test_an_attack_is_contained(sandboxes: DockerSandboxes, one: Attack) -> None:
    outcomes = [outcome async for outcome in attack(sandboxes, [one])]
    assert [(outcome.contained, bool(outcome.by)) for outcome in outcomes] == [(True, True)], outcomes


async def test_a_program_cannot_speak_for_the_agent(sandbox: DockerSandbox) -> None:
    """No descriptor but its three is open in it, and the agent's are out of reach."""
    result = await sandbox.run_python("import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    assert result.stdout.text == "[0, 1, 2]\n"
    assert (await sandbox.exec("id -u; grep CapEff /proc/self/status; ls /proc/1/fd")).stdout.text == (
        "1000\nCapEff:\t0000000000000000\n"
    )
    spoken = await sandbox.exec("echo forged > /proc/1/fd/1")
    assert not spoken.ok


async def test_nothing_of_the_host_is_there(sandbox: DockerSandbox) -> None:
    seen = await sandbox.exec(
        "cat /etc/hostname; ls /root /home; env | cut -d= -f1 | sort | tr '\\n' ' '; echo > /etc/x"
    )
    assert seen.stdout.text.startswith("sandbox\n")
    assert "AGENTENV" not in seen.stdout.text
    assert "Read-only file system" in seen.stderr.text
