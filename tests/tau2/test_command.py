"""The command that plays every ground truth, and the page that it writes into."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentenv.errors import ConfigError
from agentenv_tau2.__main__ import app
from agentenv_tau2.data import Domain
from agentenv_tau2.replay import replay
from agentenv_tau2.report import insert, markdown
from tests.tau2.shop import write_domain

PAGE = Path(__file__).parents[2] / "docs" / "tau2.md"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["replay", *arguments])


def test_it_says_what_is_paid_and_ends_well(small: str) -> None:
    result = run("--data", small, "--no-op")
    assert result.exit_code == 0
    assert "1 of 1 ground truths (2 calls) are paid in full" in result.stdout
    assert "An agent that only talks is paid in none." in result.stdout


def test_it_ends_with_one_where_a_ground_truth_is_not_paid(tmp_path: Path) -> None:
    """The user's tools are not the agent's to use: a ground truth that needs them cannot be played by it alone."""
    gold = {"action_id": "1", "name": "update_task_status", "arguments": {"task_id": "task_1", "status": "completed"}}
    unread = {"notification_id": "n", "expected_status": "unread"}
    criteria = {
        "actions": [gold],
        "env_assertions": [{"env_type": "user", "func_name": "assert_notification_status", "arguments": unread}],
        "reward_basis": ["DB", "ENV_ASSERTION"],
    }
    database = {
        "tasks": {"task_1": {"task_id": "task_1", "title": "T"}},
        "users": {"user_1": {"user_id": "user_1", "name": "U", "tasks": ["task_1"]}},
    }
    tasks = [{"id": "no inbox", "user_scenario": {"instructions": "Wait."}, "evaluation_criteria": criteria}]
    folder = write_domain(tmp_path, tasks, domain="mock", database=database)
    result = run("--domain", "mock", "--data", str(folder))
    assert result.exit_code == 1
    assert "Not as it should be: 1 (no inbox)." in result.stdout


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    result = run("--data", str(tmp_path))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "github.com/sierra-research/tau2-bench" in result.stderr


def test_it_writes_between_the_markers_and_nowhere_else(small: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- replay:retail -->\nold\n<!-- end of replay:retail -->\nafter\n")
    for _ in range(2):
        assert run("--data", small, "--no-op", "--write", str(page)).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- replay:retail -->\n- 1 of 1 ground truths")
    assert text.endswith(" |\n<!-- end of replay:retail -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ConfigError, match="needs the lines <!-- replay:mock -->"):
        insert(text, Domain.MOCK, "")


def test_a_page_without_markers_is_a_mistake(small: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    result = run("--data", small, "--write", str(page))
    assert result.exit_code == 1
    assert "needs the lines" in result.stderr
    assert page.read_text() == "nothing"


@pytest.mark.parametrize("domain", list(Domain))
async def test_the_pages_tables_are_what_the_command_finds(domain: Domain, tau2_data: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert insert(page, domain, markdown(await replay(domain, tau2_data, silent=True))) == page


def test_the_pages_programs_run(tau2_data: str, tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert programs
    for program in programs:
        subprocess.run(
            [sys.executable, "-c", program], check=True, timeout=60, env={"AGENTENV_TAU2": tau2_data, "PATH": ""}
        )
