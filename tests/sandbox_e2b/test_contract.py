"""What machines of E2B keep of the contract; which of the limits inside was met nobody can tell from here."""

from __future__ import annotations

import dataclasses

from agentenv.sandbox import Cause, EntryKind, Limits, Sandbox, SandboxBackend
from tests.support.sandbox_contract import (  # noqa: F401 - what holds here too
    test_a_closed_sandbox_is_no_failure_of_a_program,
    test_a_command_gets_its_input_its_variables_and_its_folder,
    test_a_fork_has_the_files_and_goes_its_own_way,
    test_a_megabyte_is_read_whole,
    test_a_program_that_fails_is_told_from_one_that_is_not_there,
    test_a_sandbox_says_what_it_uses,
    test_a_snapshot_brings_files_back,
    test_closing_a_sandbox_ends_what_runs_in_it,
    test_code_that_is_no_python_says_where,
    test_executions_run_side_by_side,
    test_killing_a_sandbox_ends_what_runs_in_it_and_nothing_else,
    test_output_is_told_as_it_comes,
    test_python_code_ends_as_under_the_interpreter,
    test_python_code_runs_as_a_main_module_of_its_own,
    test_randomness_is_seeded_on_request_and_else_nobody_knows_it,
    test_what_cannot_be_read_is_an_error_that_names_it,
    test_what_cannot_be_written_is_an_error_that_names_it,
    test_what_is_written_too_much_is_cut_and_counted,
    test_who_takes_too_long_is_ended_with_whatever_it_began,
    test_whoever_stops_waiting_ends_the_execution,
)


async def test_each_process_is_limited(sandboxes: SandboxBackend, limits: Limits) -> None:
    async with sandboxes.sandbox(dataclasses.replace(limits, cpu_seconds=1.0)) as sandbox:
        assert (await sandbox.exec("while :; do :; done")).cause is Cause.CPU
        assert "MemoryError" in (await sandbox.run_python("x = bytearray(10**9)")).stderr.text
        assert (await sandbox.exec("head -c 100000000 /dev/zero > big")).cause is Cause.PROGRAM_ERROR


async def test_files_are_written_read_and_listed(sandbox: Sandbox) -> None:
    await sandbox.write("deep/er/data", bytes(range(256)))
    await sandbox.write("script", b"#!/bin/sh\necho ran\n", executable=True)
    assert await sandbox.read("deep/er/data", limit=3) == b"\x00\x01\x02"
    assert (await sandbox.exec(["./script"])).stdout.text == "ran\n"
    await sandbox.exec("mkfifo pipe")
    assert [(entry.name, entry.kind, entry.size) for entry in await sandbox.list()] == [
        ("deep", EntryKind.FOLDER, 0),
        ("pipe", EntryKind.OTHER, 0),
        ("script", EntryKind.FILE, 19),
    ]
