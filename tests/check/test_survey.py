"""The survey: one page for many audits, written without touching the text around it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from agentenv.check import AuditReport, Evidence, Finding, Probe, Severity


@pytest.fixture(scope="module")
def survey() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "survey_environments.py"
    spec = importlib.util.spec_from_file_location("survey_environments", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_counts_findings_and_escapes_answers_for_markdown(survey: ModuleType) -> None:
    evidence = Evidence(answer="<b>|`*_", reward=1.0)
    finding = Finding(probe=Probe.HEDGE, severity=Severity.ERROR, summary="s", seen=2, trials=3, evidence=evidence)
    broken = AuditReport(environment="broken-v0", findings=(finding,), episodes=10, seconds=2.0)
    text = survey.page([broken, AuditReport(environment="fine-v0", episodes=5, seconds=1.0)], 20, 0)
    assert "1 environments without a finding" in text
    assert "| `pays-a-hedge` | 1 |  |  |" in text
    row = next(line for line in text.splitlines() if line.startswith("| broken-v0"))
    assert row.count("|") == 6
    assert "2/3" in row
    assert "&lt;b&gt;" in row
    assert "Nothing found: `fine-v0`." in text


def test_writing_replaces_only_what_stands_between_the_marks(survey: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "findings.md"
    path.write_text(f"# By hand\n\n{survey.BEGIN}\nold\n{survey.END}\n\nmore by hand\n")
    survey.write(path, "new")
    assert path.read_text() == f"# By hand\n\n{survey.BEGIN}\nnew\n{survey.END}\n\nmore by hand\n"
    survey.write(tmp_path / "fresh.md", "new")
    assert "new" in (tmp_path / "fresh.md").read_text()


async def test_an_audit_that_fails_becomes_a_line_of_the_page(survey: ModuleType) -> None:
    report = await survey.in_own_process("no-such-environment-v0", 2, 0)
    (finding,) = report.findings
    assert finding.probe is Probe.CANNOT_PLAY
    assert "no-such-environment" in finding.summary
