"""What docs/code.md shows is what happens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from agentenv_code.grading.attacks import ATTACKS
from agentenv_code.synthesis.rows import Row

PAGE = (Path(__file__).parents[2] / "docs" / "code.md").read_text()


def test_the_programs_of_the_page_run() -> None:
    programs = re.findall(r"```python\n(import .*?\n)```\n", PAGE, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_task_of_the_page_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    task = Row.model_validate(json.loads(text)).task()
    assert "`double(1)` returns `2`." in task.question


def test_the_table_of_attacks_is_that_of_the_command() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([01]) \| ([01]) \| ([01]) \| ([01]) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert [name for name, *_ in rows] == ["the honest program", *(one.name for one in ATTACKS)]
    assert [scores for _, *scores in rows] == [["1"] * 4, *[["0"] * 4] * len(ATTACKS)]
