"""The official conformance suite of MCP, as `scripts/make-mcp-conformance` installs it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import require

FOLDER = Path(__file__).parents[2] / ".mcp-conformance"
_NODE = FOLDER / "node" / "bin" / "node"
_PROGRAM = FOLDER / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
_SECONDS = 90.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Report:
    """What the suite says of one scenario, with its exit code. `text` is all it printed."""

    passed: int
    checks: int
    code: int | None
    text: str

    @property
    def ok(self) -> bool:
        return self.code == 0 and self.checks > 0 and self.passed == self.checks


def suite_is_there() -> None:
    """Skips loudly without the suite; in CI that is a failure."""
    require((FOLDER / ".ready").exists(), "MCP's conformance suite: scripts/make-mcp-conformance .mcp-conformance")


async def conformance(*arguments: str) -> Report:
    """Runs a scenario: `client` or `server`, and its options."""
    command: Sequence[str] = [str(_NODE), str(_PROGRAM), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_SECONDS):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = _COLOUR.sub("", printed.decode("utf-8", "replace"))
    found = re.search(r"Passed: (\d+)/(\d+)", text)
    passed, checks = (int(found[1]), int(found[2])) if found else (0, 0)
    return Report(passed, checks, process.returncode, text)
