"""The local backend keeps the contract of every sandbox, and tells the host's failures from a program's."""

from __future__ import annotations

import os

import pytest

from agentenv.errors import ConfigError
from agentenv.sandbox import Limits, SandboxFailed
from agentenv_local.sandbox import LocalSandbox
from tests.support.sandbox_contract import *  # noqa: F403 - the tests of every backend


async def test_a_program_that_cannot_be_begun_is_no_programs_failure(sandbox: LocalSandbox) -> None:
    """The host's own limit is lower than the one asked for: nothing was run that could have failed."""
    number = next(sandbox.numbers)
    nowhere = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
    limits = {"cpu": 1, "disk": 1, "descriptors": 10**9, "memory": None, "pids": None}
    run = sandbox.start(number, {"kind": "python", "code": "", "seed": None, "limits": limits}, nowhere)
    with pytest.raises(SandboxFailed, match="a program could not be begun"):
        await sandbox.explain(await run.ended, run.stopped)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory_bytes must be above 0"):
        Limits(memory_bytes=0)
