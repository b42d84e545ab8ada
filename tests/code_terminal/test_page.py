"""What docs/terminal.md shows is what happens."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


async def test_the_programs_of_the_page_run() -> None:
    async def run(program: str) -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.PIPE)
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()

    assert len(PROGRAMS) == 4
    async with asyncio.TaskGroup() as group:
        for program in PROGRAMS:
            group.create_task(run(program))
