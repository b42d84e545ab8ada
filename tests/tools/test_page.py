"""What docs/tools.md shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import agentenv
from agentenv_tools import SPECS
from tests.environments.playing import play_oracle

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_programs_of_the_page_run() -> None:
    assert len(PROGRAMS) == 3
    for program in PROGRAMS:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_table_lists_every_id_with_its_turns() -> None:
    rows = re.findall(r"^\| `(tools/\S+-v0)` \| .* \| (\d+) \|$", PAGE, re.MULTILINE)
    assert {id: int(turns) for id, turns in rows} == {spec.id: spec.max_turns for spec in SPECS}


async def test_the_world_of_the_page_can_be_played(tmp_path: Path) -> None:
    file = tmp_path / "lamps.py"
    file.write_text(PROGRAMS[-1])
    env = agentenv.make(f"{file}:Lamps")
    for task in env.tasks("train").head(10):
        assert (await play_oracle(env, task)).total == 1.0


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (agentenv .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        run = ["bash", "-c", command.replace("agentenv", f"{sys.executable} -m agentenv", 1)]
        done = subprocess.run(run, cwd=tmp_path, check=True, timeout=120, capture_output=True, text=True)
        assert "20 scored of 20" in done.stdout
