"""What docs/miniwob.md shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentenv.check import audit
from agentenv.errors import ConfigError
from agentenv.registry import EnvSpec
from agentenv_gui.miniwob import SPECS, source
from agentenv_gui.miniwob.report import BEGIN, END, cells, markdown, write_between_markers
from agentenv_gui.miniwob.scripts import RELOADED
from agentenv_gui.miniwob.survey import LEAST, UNSOLVED, Finding
from tests.support.chromium import require_chromium

PAGE = (Path(__file__).parents[2] / "docs" / "miniwob.md").read_text()
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)


def test_the_program_of_the_page_runs() -> None:
    require_chromium()
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_table_has_every_task_with_what_becomes_of_its_page() -> None:
    assert [row[0] for row in ROWS] == list(source.names())
    assert {row[0] for row in ROWS if row[5] == "loaded anew"} == set(RELOADED)
    assert {row[0] for row in ROWS if row[1] not in ("1", "")} == set(LEAST)
    assert {row[0] for row in ROWS if row[1] == ""} == set(UNSOLVED)


def test_what_should_not_be_is_said() -> None:
    assert Finding("click-test", earned=(1.0, 1.0), steps=(1, 1), idle=(-1.0,)).surprises == []
    assert Finding("circle-center", earned=(0.98,), idle=(-1.0,)).surprises == [], "no pixel earns more"
    failed = Finding("click-test", earned=(1.0, 0.0), idle=(0.5,), problem="It is lost.")
    assert failed.surprises == [
        "click-test: the oracle earns 0. It is lost.",
        "click-test: waiting earns 0.5",
    ]


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    finding = Finding("click-test", earned=(1.0, 1.0), steps=(1, 2), by_elements=True, idle=(-1.0,))
    assert cells(finding) == ("`click-test`", "1", "1.5", "✓", "-1", "used again")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_markers(page, markdown([finding]))
    assert page.read_text().startswith(f"before\n{BEGIN}\n1 tasks; oracles earn 1")
    assert page.read_text().endswith(f"| used again |\n{END}\nafter\n")
    page.write_text("no markers")
    with pytest.raises(ConfigError, match="must have"):
        write_between_markers(page, "")


@pytest.mark.slow
async def test_the_audit_finds_nothing_to_complain_of() -> None:
    require_chromium()
    kwargs = {"tasks": "enter-text", "reward": "raw"}
    report = await audit(EnvSpec(**{**SPECS[0].model_dump(), "kwargs": kwargs}), tasks=1)
    assert report.findings == ()
    assert report.oracle == 1.0
