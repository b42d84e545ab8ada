"""Real sandboxes, and a small task to be changed in every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agentenv_code.terminal.env import Terminal
from tests.support.local_sandboxes import host

__all__ = ["host"]

SETTINGS = """
schema_version = "1.4"

[metadata]
local_programs = ["bash"]
difficulty = "none"

[verifier]
timeout_sec = 20.0

[unknown]
key = 1
"""
TEST = """
#!/bin/bash
read -r found <answer.txt
[ "$found" = 42 ] && echo 1 >"$LOGS_DIR/verifier/reward.txt" || echo 0 >"$LOGS_DIR/verifier/reward.txt"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task that wants 42 in answer.txt."""
    task = tmp_path / "tasks" / "answer"
    (task / "tests").mkdir(parents=True)
    (task / "solution").mkdir()
    (task / "task.toml").write_text(SETTINGS)
    (task / "instruction.md").write_text("Write 42 to answer.txt.\n")
    (task / "tests" / "test.sh").write_text(TEST.lstrip())
    (task / "solution" / "solve.sh").write_text("echo 42 >answer.txt\n")
    return task


@pytest_asyncio.fixture
async def env(folder: Path) -> AsyncIterator[Terminal]:
    """The environment of that task."""
    made = Terminal(tasks_path=str(folder), default_split="train")
    yield made
    await made.close()
