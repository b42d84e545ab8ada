"""What docs/sandboxes.md shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from agentenv.sandbox.attacks import ATTACKS

PAGE = (Path(__file__).parents[2] / "docs" / "sandboxes.md").read_text()


def test_the_programs_of_the_page_run() -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert programs
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_table_of_attacks_is_that_of_the_program() -> None:
    rows = re.findall(r"^\| ([^|]+) \| yes \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert rows == [one.name for one in ATTACKS]
