"""What plain processes keep of the contract, and that nobody gets them by accident."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agentenv.errors import ConfigError
from agentenv.sandbox import (
    Cause,
    Isolation,
    Limits,
    Network,
    Promise,
    Sandbox,
    SandboxBackend,
    SandboxFailed,
    SandboxFileError,
)
from agentenv.sandbox.registry import make_backend
from agentenv_subprocess import SubprocessSandboxes, marks
from tests.support.sandbox_contract import (  # noqa: F401 - what holds here too
    test_a_closed_sandbox_is_no_failure_of_a_program,
    test_a_fork_has_the_files_and_goes_its_own_way,
    test_a_megabyte_is_read_whole,
    test_code_that_is_no_python_says_where,
    test_output_is_told_as_it_comes,
    test_python_code_ends_as_under_the_interpreter,
    test_python_code_runs_as_a_main_module_of_its_own,
    test_randomness_is_seeded_on_request_and_else_nobody_knows_it,
    test_what_is_written_too_much_is_cut_and_counted,
)

CLIENT = """
import asyncio
from agentenv_subprocess import SubprocessSandboxes

async def main():
    async with SubprocessSandboxes(not_isolated=True) as sandboxes, sandboxes.sandbox() as sandbox:
        await sandbox.exec("setsid sleep 1000 & echo here > here")
        print(sandbox.work.parent.name, flush=True)
        await sandbox.exec("sleep 1000", wall_seconds=600)

asyncio.run(main())
"""


def test_nobody_gets_it_by_accident() -> None:
    for make in (SubprocessSandboxes, lambda: make_backend("subprocess")):
        with pytest.raises(ConfigError, match=r"isolates nothing.*not_isolated=True"):
            make()
    assert isinstance(make_backend("subprocess", not_isolated=True), SubprocessSandboxes)


async def test_it_promises_nothing_and_every_record_says_so(sandboxes: SubprocessSandboxes, sandbox: Sandbox) -> None:
    promises = await sandboxes.probe()
    assert (promises.isolation, promises.kept, set(promises.broken)) == (Isolation.NONE, {}, set(Promise))
    assert (await sandbox.exec("true")).isolation is Isolation.NONE
    with pytest.raises(ConfigError, match="hold to a list"):
        await sandboxes.create(Limits(network=Network.LISTED, reachable=("pypi.org",)))


async def test_a_program_gets_its_input_its_folder_and_nothing_of_our_variables(sandbox: Sandbox) -> None:
    os.environ["AGENTENV_TEST_SECRET"] = "s3cret"
    try:
        result = await sandbox.exec("cat; env; pwd", stdin=b"typed\n", env={"GREETING": "hi"})
    finally:
        del os.environ["AGENTENV_TEST_SECRET"]
    assert result.stdout.text.startswith("typed\n")
    assert "GREETING=hi\n" in result.stdout.text
    assert "s3cret" not in result.stdout.text
    missing = await sandbox.exec(["no-such-program"])
    assert (missing.cause, missing.exit_code) == (Cause.PROGRAM_ERROR, 127)
    assert "no-such-program: No such file" in missing.stderr.text


async def test_time_and_each_process_are_limited(sandboxes: SandboxBackend, limits: Limits) -> None:
    async with sandboxes.sandbox(dataclasses.replace(limits, cpu_seconds=1.0)) as sandbox:
        assert (await sandbox.exec("sleep 60", wall_seconds=0.2)).cause is Cause.WALL
        assert (await sandbox.exec("while :; do :; done")).cause is Cause.CPU
        assert "MemoryError" in (await sandbox.run_python("x = bytearray(10**9)")).stderr.text
        assert (await sandbox.exec("head -c 100000000 /dev/zero > big")).cause is Cause.PROGRAM_ERROR


async def test_a_session_keeps_its_variables_and_can_be_interrupted(sandbox: Sandbox) -> None:
    async with await sandbox.python() as session:
        await session.run("x = 20\nprint('said')")
        assert (await session.run("x + 1")).stdout.text == "21\n"
        failed = await session.run("1 / 0")
        assert (failed.cause, failed.exit_code) == (Cause.PROGRAM_ERROR, 1)
        assert failed.stderr.text.startswith('Traceback (most recent call last):\n  File "<3>", line 1')
        assert (await session.run("while True: pass", wall_seconds=0.2)).cause is Cause.WALL
        assert (await session.run("x")).stdout.text == "20\n"
        gone = await session.run("import os; os._exit(3)")
        assert (gone.cause, gone.exit_code) == (Cause.PROGRAM_ERROR, 3)
        with pytest.raises(SandboxFailed, match="variables are lost"):
            await session.run("x")


async def test_killing_ends_what_runs_and_what_it_has_left(sandbox: Sandbox) -> None:
    running = asyncio.create_task(sandbox.exec("setsid sleep 1000 & sleep 1000"))
    while (await sandbox.stats()).pids != 3:
        pass
    await sandbox.kill()
    assert (await running).cause is Cause.KILLED
    assert (await sandbox.stats()).pids == 0


async def test_files_are_written_read_listed_and_brought_back(sandbox: Sandbox) -> None:
    await sandbox.write("deep/er/data", bytes(range(256)))
    snapshot = await sandbox.snapshot()
    await sandbox.write("deep/er/data", b"")
    await sandbox.restore(snapshot)
    assert await sandbox.read("deep/er/data", limit=3) == b"\x00\x01\x02"
    assert [entry.name for entry in await sandbox.list("deep")] == ["er"]
    with pytest.raises(SandboxFileError, match="missing"):
        await sandbox.read("missing")


async def test_what_a_killed_client_has_left_is_cleared_away_by_the_next() -> None:
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, stdout=subprocess.PIPE)
    assert client.stdout is not None
    mark = (await client.stdout.readline()).decode().strip()
    client.kill()
    await client.wait()
    assert marks.count(mark) > 0
    async with SubprocessSandboxes(not_isolated=True):
        assert marks.count(mark) == 0
        assert not (Path(tempfile.gettempdir()) / mark).exists()
