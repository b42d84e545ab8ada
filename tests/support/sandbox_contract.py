"""What any sandbox does: commands, code, files, and a cause for every end.

The tests of a backend import everything from here and have fixtures of their own: `sandboxes`, an open backend whose
sandboxes have `limits` (20 s of wall and CPU, 128 MiB, 32 processes, 8 MiB on disk in 500 files), `limits`, and
`sandbox`, one of them.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from agentenv.errors import ConfigError
from agentenv.sandbox import (
    Cause,
    EntryKind,
    ExecResult,
    Limits,
    Sandbox,
    SandboxBackend,
    SandboxFailed,
    SandboxFileError,
    Stream,
)


def said(result: ExecResult) -> tuple[Cause, int | None, str]:
    return result.cause, result.exit_code, result.stdout.text


async def until_sleep(sandbox: Sandbox, runs: bool) -> None:
    """Waits until a `sleep` runs in it, or none does any longer."""
    async with asyncio.timeout(30.0):
        while (await sandbox.exec("pgrep sleep")).ok is not runs:
            pass


async def test_a_command_gets_its_input_its_variables_and_its_folder(sandbox: Sandbox) -> None:
    assert said(await sandbox.exec(["cat"], stdin=b"hello")) == (Cause.OK, 0, "hello")
    assert said(await sandbox.exec('echo "$GREETING" $((1 + 1))', env={"GREETING": "hi there"})) == (
        Cause.OK,
        0,
        "hi there 2\n",
    )
    assert said(await sandbox.exec(["pwd"], cwd="/tmp")) == (Cause.OK, 0, "/tmp\n")


async def test_a_program_that_fails_is_told_from_one_that_is_not_there(sandbox: Sandbox) -> None:
    failed = await sandbox.exec("echo no >&2; exit 3")
    assert (failed.cause, failed.exit_code, failed.stderr.text) == (Cause.PROGRAM_ERROR, 3, "no\n")
    missing = await sandbox.exec(["no-such-program"])
    assert (missing.cause, missing.exit_code) == (Cause.PROGRAM_ERROR, 127)
    assert "no-such-program: No such file" in missing.stderr.text
    killed = await sandbox.exec("kill -9 $$")
    assert (killed.cause, killed.exit_code) == (Cause.PROGRAM_ERROR, -9)
    with pytest.raises(ConfigError, match="the name of a program"):
        await sandbox.exec([])


async def test_python_code_runs_as_a_main_module_of_its_own(sandbox: Sandbox) -> None:
    code = "import sys\nx = 1\nprint(__name__, sys.argv, input())\nif x:\n    raise ValueError('seven')"
    result = await sandbox.run_python(code, stdin=b"typed")
    assert said(result) == (Cause.PROGRAM_ERROR, 1, "__main__ ['main.py'] typed\n")
    assert result.stderr.text.splitlines() == [
        "Traceback (most recent call last):",
        '  File "main.py", line 5, in <module>',
        "    raise ValueError('seven')",
        "ValueError: seven",
    ]
    assert said(await sandbox.run_python("print(x)"))[:2] == (Cause.PROGRAM_ERROR, 1)


@pytest.mark.parametrize(
    ("code", "exit_code", "errors"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('enough')", 1, "enough\n"),
        ("import os; os._exit(4)", 4, ""),
        ("import atexit; atexit.register(lambda: print('bye', file=__import__('sys').stderr))", 0, "bye\n"),
        (
            "import threading as t; t.Timer(0.05, lambda: print('late', file=__import__('sys').stderr)).start()",
            0,
            "late\n",
        ),
    ],
)
async def test_python_code_ends_as_under_the_interpreter(
    sandbox: Sandbox, code: str, exit_code: int, errors: str
) -> None:
    result = await sandbox.run_python(code)
    assert (result.exit_code, result.stderr.text) == (exit_code, errors)


async def test_code_that_is_no_python_says_where(sandbox: Sandbox) -> None:
    result = await sandbox.run_python("a = 1\nb = = 2\n")
    assert result.cause is Cause.PROGRAM_ERROR
    assert 'File "main.py", line 2' in result.stderr.text


async def test_randomness_is_seeded_on_request_and_else_nobody_knows_it(sandbox: Sandbox) -> None:
    code = "import random; print(random.random())"
    seeded = [(await sandbox.run_python(code, seed=5)).stdout.text for _ in range(2)]
    unseeded = [(await sandbox.run_python(code)).stdout.text for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert unseeded[0] != unseeded[1]


async def test_output_is_told_as_it_comes(sandbox: Sandbox) -> None:
    heard: list[tuple[Stream, bytes]] = []
    await sandbox.exec(
        "echo one; read line; echo $line >&2", stdin=b"two\n", on_output=lambda *piece: heard.append(piece)
    )
    assert sorted(heard) == [(Stream.STDERR, b"two\n"), (Stream.STDOUT, b"one\n")]


async def test_what_is_written_too_much_is_cut_and_counted(sandboxes: SandboxBackend, limits: Limits) -> None:
    async with sandboxes.sandbox(dataclasses.replace(limits, output_bytes=1000)) as sandbox:
        exact = await sandbox.exec(["head", "-c", "1000", "/dev/zero"])
        assert (exact.cause, len(exact.stdout.data), exact.stdout.dropped) == (Cause.OK, 1000, 0)
        much = await sandbox.exec(["head", "-c", "1000000000", "/dev/zero"])
        assert (much.cause, len(much.stdout.data)) == (Cause.OUTPUT, 1000)
        assert much.stdout.dropped > 0
        assert "bytes more]" in much.stdout.text
        assert much.message == "wrote more than 1,000 bytes"


async def test_a_gigabyte_of_output_hangs_nobody(sandbox: Sandbox) -> None:
    result = await sandbox.exec("head -c 1000000000 /dev/zero; head -c 1000000000 /dev/zero >&2")
    assert result.cause is Cause.OUTPUT
    assert len(result.stdout.data) == sandbox.limits.output_bytes
    assert (await sandbox.exec("true")).ok


async def test_a_megabyte_is_read_whole(sandboxes: SandboxBackend, limits: Limits) -> None:
    async with sandboxes.sandbox(dataclasses.replace(limits, output_bytes=2**21)) as sandbox:
        result = await sandbox.run_python("import os; os.write(1, b'x' * 2**20)")
        assert (result.cause, len(result.stdout.data)) == (Cause.OK, 2**20)
        echoed = await sandbox.exec(["cat"], stdin=b"y" * 2**20)
        assert echoed.stdout.data == b"y" * 2**20


async def test_who_takes_too_long_is_ended_with_whatever_it_began(sandbox: Sandbox) -> None:
    result = await sandbox.exec("trap '' TERM; (setsid sleep 60 &) ; sleep 60", wall_seconds=0.3)
    assert (result.cause, result.exit_code, result.message) == (Cause.WALL, -9, "took longer than 0.3 s")
    assert (await sandbox.exec("pgrep sleep")).stdout.text == ""


async def test_who_computes_too_long_is_ended(sandboxes: SandboxBackend, limits: Limits) -> None:
    tight = dataclasses.replace(limits, cpu_seconds=0.3, wall_seconds=20.0)
    async with sandboxes.sandbox(tight) as sandbox:
        result = await sandbox.exec("while :; do :; done")
        assert result.cause is Cause.CPU
        many = await sandbox.exec("for i in 1 2 3 4; do (while :; do :; done) & done; wait")
        assert many.cause is Cause.CPU


async def test_each_limit_that_is_met_is_named(sandbox: Sandbox) -> None:
    memory = await sandbox.run_python("x = bytearray(10**9)")
    assert memory.cause is Cause.OOM
    forked = await sandbox.exec("for i in $(seq 100); do sleep 3 & done; wait")
    assert forked.cause is Cause.PIDS
    await sandbox.kill()
    disk = await sandbox.exec("head -c 100000000 /dev/zero > big")
    assert disk.cause is Cause.DISK
    await sandbox.exec("rm big")
    files = await sandbox.exec("for i in $(seq 1000); do : > file-$i || exit 1; done")
    assert files.cause is Cause.DISK
    assert (await sandbox.exec("true")).ok


async def test_executions_run_side_by_side(sandbox: Sandbox) -> None:
    await sandbox.exec(["mkfifo", "pipe"])
    reading, _ = await asyncio.gather(sandbox.exec("cat pipe"), sandbox.exec("echo met > pipe"))
    assert said(reading) == (Cause.OK, 0, "met\n")


async def test_killing_a_sandbox_ends_what_runs_in_it_and_nothing_else(sandbox: Sandbox) -> None:
    running = asyncio.create_task(sandbox.exec("echo on; sleep 60"))
    await until_sleep(sandbox, True)
    await sandbox.kill()
    result = await running
    assert said(result) == (Cause.KILLED, -9, "on\n")
    assert (await sandbox.exec("true")).ok


async def test_closing_a_sandbox_ends_what_runs_in_it(sandboxes: SandboxBackend) -> None:
    sandbox = await sandboxes.create()
    running = asyncio.create_task(sandbox.exec("sleep 60"))
    await until_sleep(sandbox, True)
    await sandbox.close()
    assert (await running).cause is Cause.KILLED


async def test_whoever_stops_waiting_ends_the_execution(sandbox: Sandbox) -> None:
    running = asyncio.create_task(sandbox.exec("sleep 60"))
    await until_sleep(sandbox, True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_sleep(sandbox, False)


async def test_files_are_written_read_and_listed(sandbox: Sandbox) -> None:
    await sandbox.write("deep/er/data", bytes(range(256)))
    await sandbox.write("script", b"#!/bin/sh\necho ran\n", executable=True)
    assert await sandbox.read("deep/er/data") == bytes(range(256))
    assert await sandbox.read("/sandbox/deep/er/data", limit=3) == b"\x00\x01\x02"
    assert (await sandbox.exec(["./script"])).stdout.text == "ran\n"
    await sandbox.exec("ln -s /etc/passwd link; mkfifo pipe")
    assert [(entry.name, entry.kind, entry.size) for entry in await sandbox.list()] == [
        ("deep", EntryKind.FOLDER, 0),
        ("link", EntryKind.OTHER, 0),
        ("pipe", EntryKind.OTHER, 0),
        ("script", EntryKind.FILE, 19),
    ]


@pytest.mark.parametrize("path", ["missing", "/sandbox", "pipe", "/proc/1/environ", "/dev/zero"])
async def test_what_cannot_be_read_is_an_error_that_names_it(sandbox: Sandbox, path: str) -> None:
    await sandbox.exec("mkfifo pipe")
    with pytest.raises(SandboxFileError, match=path):
        await sandbox.read(path)


async def test_what_cannot_be_written_is_an_error_that_names_it(sandbox: Sandbox) -> None:
    for path in ("/usr/bin/new", "/etc/passwd", "/"):
        with pytest.raises(SandboxFileError, match=path):
            await sandbox.write(path, b"x")


async def test_a_snapshot_brings_files_back(sandbox: Sandbox) -> None:
    await sandbox.exec("mkdir kept; echo 1 > kept/a; ln -s a kept/link; echo 2 > /tmp/b")
    snapshot = await sandbox.snapshot()
    await sandbox.exec("rm -r kept; echo 3 > /tmp/b; echo 4 > new")
    await sandbox.restore(snapshot)
    assert (await sandbox.exec("cat kept/link /tmp/b; ls")).stdout.text == "1\n2\nkept\n"


async def test_a_fork_has_the_files_and_goes_its_own_way(sandbox: Sandbox) -> None:
    await sandbox.write("shared", b"1")
    async with await sandbox.fork() as other:
        await other.write("shared", b"2")
        assert other.id != sandbox.id
        assert (await sandbox.read("shared"), await other.read("shared")) == (b"1", b"2")


async def test_a_sandbox_says_what_it_uses(sandbox: Sandbox) -> None:
    await sandbox.exec("head -c 1000000 /dev/zero > file; sleep 60 &")
    stats = await sandbox.stats()
    assert stats.pids == 1
    assert stats.disk_bytes is not None
    assert 1_000_000 <= stats.disk_bytes < 1_100_000
    assert stats.memory_bytes is not None
    assert stats.memory_bytes > 1_000_000


async def test_a_closed_sandbox_is_no_failure_of_a_program(sandboxes: SandboxBackend) -> None:
    sandbox = await sandboxes.create()
    await sandbox.close()
    await sandbox.close()
    with pytest.raises(SandboxFailed, match="it was closed") as failure:
        await sandbox.exec("true")
    assert failure.value.result is not None
    assert failure.value.result.cause is Cause.INFRA
