"""Attempts to get out, to look in from inside, or to take the host down. Each must fail, and the sandbox live on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentenv.sandbox import Sandbox
from agentenv.sandbox.attacks import ATTACKS, Attack, attack
from agentenv_local import LocalSandboxes


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: one.name.replace(" ", "_"))
async def test_an_attack_is_contained(sandboxes: LocalSandboxes, one: Attack) -> None:
    outcomes = [outcome async for outcome in attack(sandboxes, [one])]
    assert [(outcome.contained, bool(outcome.by)) for outcome in outcomes] == [(True, True)], outcomes


async def test_an_attack_that_gets_out_is_told_from_one_that_does_not(sandboxes: LocalSandboxes) -> None:
    """Without this the table above could say anything."""
    out = Attack("reading what anybody may", "attempt('passwd', lambda: open('/etc/passwd').read())")
    crashed = Attack("crashing", "raise SystemError('no')")
    (first, second) = [outcome async for outcome in attack(sandboxes, [out, crashed])]
    assert (first.contained, first.by[:17]) == (False, "ESCAPED passwd: '")
    assert not second.contained
    assert "SystemError: no" in second.by


async def test_the_hosts_files_and_variables_are_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    os.environ["AGENTENV_TEST_SECRET"] = "s3cret"
    try:
        found = await sandbox.exec(
            f"cat {secret}; cat /etc/shadow; ls /root /home /host /sys; env; cat /proc/*/environ | tr '\\0' '\\n'"
        )
    finally:
        del os.environ["AGENTENV_TEST_SECRET"]
    assert "s3cret" not in found.stdout.text
    assert not [line for line in found.stdout.text.splitlines() if line.startswith("root:")]
    environment = {line.partition("=")[0] for line in found.stdout.text.splitlines() if "=" in line}
    assert environment <= {
        "PATH", "HOME", "TMPDIR", "LANG", "USER", "PWD", "OLDPWD", "SHLVL", "_",
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    }  # fmt: skip


async def test_other_sandboxes_and_the_host_have_no_processes_here(sandboxes: LocalSandboxes) -> None:
    async with sandboxes.sandbox() as one, sandboxes.sandbox() as other:
        await other.exec("sleep 60 & echo mine > /tmp/mine")
        seen = await one.exec("ls -d /proc/[0-9]*; ls -d /tmp/mine; pgrep sleep")
        assert len(seen.stdout.text.split()) <= 3  # the warden, the shell, and ls, which may not have begun
        assert (await one.exec("kill -9 -1; echo alive")).exit_code in (0, 1, -9)
        assert (await other.exec("pgrep -c sleep")).stdout.text == "1\n"


async def test_the_user_of_a_sandbox_is_nobody_outside(sandboxes: LocalSandboxes) -> None:
    async with sandboxes.sandbox() as one, sandboxes.sandbox() as other:
        for sandbox in (one, other):
            assert (await sandbox.exec("id -u")).stdout.text == "1000\n"
            assert (await sandbox.exec("grep Cap /proc/self/status | sort -u -k 2")).stdout.text.count(
                "0000000000000000"
            ) == 1
        users = {(await each.exec("cat /proc/self/uid_map")).stdout.text for each in (one, other)}
        if os.geteuid() == 0:
            assert len(users) == 2
            assert all(int(line.split()[1]) >= 1_000_000 for line in users)


async def test_a_program_cannot_speak_for_the_warden(sandbox: Sandbox) -> None:
    """No descriptor but its three is open in it, so it cannot answer for anybody."""
    result = await sandbox.run_python("import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    assert result.stdout.text == "[0, 1, 2]\n"
    assert (await sandbox.exec("ls /proc/self/fd | wc -l")).stdout.text == "4\n"
