"""The audit as a whole: broken environments are found out, healthy ones are left in peace, bad input is one line."""

from __future__ import annotations

import io
import json
import random
import threading
from pathlib import Path

import pytest
from rich.console import Console

from agentenv.check import AuditReport, Evidence, Finding, Limits, Probe, Severity, audit, render
from agentenv.env import Env, SyncEnv
from agentenv.errors import AgentenvError, ConfigError, RegistryError
from agentenv.registry import EnvSpec
from tests.check import zoo
from tests.check.healthy import HEALTHY
from tests.check.zoo import EXPECTED, NOT_ERRORS

LIMITS = Limits(call_seconds=1.0, grace_seconds=0.3, audit_seconds=60.0)
PATIENT = Limits(call_seconds=5.0, grace_seconds=0.3, audit_seconds=90.0)
"""For environments that do not hang: a busy machine, or a collection of this process's garbage, holds the loop for a
second and more."""


def spec_of(kind: type[Env] | type[SyncEnv]) -> EnvSpec:
    declared = {name: getattr(kind, name) for name in ("max_turns", "reward_range") if hasattr(kind, name)}
    return EnvSpec(id=f"zoo/{kind.__name__}-v0", entry_point=f"{kind.__module__}:{kind.__name__}", **declared)


async def checked(kind: type[Env] | type[SyncEnv]) -> AuditReport:
    hangs = Probe.HANGS in EXPECTED.get(kind, ())
    return await audit(spec_of(kind), tasks=8, limits=LIMITS if hangs else PATIENT)


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
async def test_a_broken_environment_yields_exactly_the_finding_it_was_built_for(kind: type[Env]) -> None:
    report = await checked(kind)
    assert {finding.probe for finding in report.findings} == EXPECTED[kind], report.to_json()
    assert report.exit_code == (0 if kind in NOT_ERRORS else 1), report.to_json()


@pytest.mark.parametrize("kind", HEALTHY, ids=lambda kind: kind.__name__)
async def test_a_healthy_environment_is_not_accused_of_an_error(kind: type[Env] | type[SyncEnv]) -> None:
    report = await checked(kind)
    assert report.count(Severity.ERROR) == 0, report.to_json()
    assert report.oracle == 1.0
    assert report.exit_code == 0


def test_every_probe_is_shown_by_an_animal_of_the_zoo() -> None:
    shown = set().union(*EXPECTED.values())
    assert set(Probe) - shown == {Probe.OUT_OF_TIME}


async def test_the_evidence_holds_the_answer_that_fooled_the_verifier() -> None:
    (finding,) = (await checked(zoo.PaysSilence)).findings
    assert (finding.evidence.answer, finding.evidence.reward) == ("(nothing)", 1.0)
    assert finding.evidence.task_id
    assert finding.evidence.expected
    assert finding.seen == finding.trials == 8


async def test_the_line_that_blocks_the_loop_is_named() -> None:
    (finding,) = (await checked(zoo.BlocksTheLoop)).findings
    assert "zoo.py:" in finding.evidence.detail
    assert "in respond" in finding.evidence.detail


async def test_the_line_that_never_gives_the_loop_back_is_named() -> None:
    (finding,) = (await checked(zoo.StallsTheLoop)).findings
    assert "zoo.py:" in finding.evidence.detail
    assert "in verify" in finding.evidence.detail


async def test_without_time_the_report_says_what_was_left_out() -> None:
    report = await audit(spec_of(zoo.Sums), tasks=2, limits=Limits(audit_seconds=0.0))
    assert {finding.probe for finding in report.findings} >= {Probe.OUT_OF_TIME}


async def test_the_global_generator_is_given_back_as_it_was() -> None:
    before = random.getstate()
    await checked(zoo.RollsGlobalDice)
    assert random.getstate() == before


async def test_no_stage_is_left_behind() -> None:
    before = set(threading.enumerate())
    await checked(zoo.Sums)
    stages = [thread for thread in set(threading.enumerate()) - before if thread.name == "agentenv-check-stage"]
    assert not [thread for thread in stages if _alive(thread)]


def _alive(thread: threading.Thread) -> bool:
    thread.join(5.0)
    return thread.is_alive()


async def test_an_unknown_id_is_one_clear_error_with_the_nearest_match() -> None:
    with pytest.raises(RegistryError, match="calculator-v0"):
        await audit("calcualtor-v0")


async def test_a_file_with_a_syntax_error_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("class Env(:\n")
    with pytest.raises(AgentenvError, match=r"broken\.py.*SyntaxError"):
        await audit(str(path))


async def test_a_file_without_an_environment_and_a_missing_file_say_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    with pytest.raises(AgentenvError, match="environments in it: none"):
        await audit(str(path))
    with pytest.raises(AgentenvError, match="there is no file"):
        await audit(str(tmp_path / "missing.py"))


async def test_an_environment_in_a_plain_file_is_audited(tmp_path: Path) -> None:
    path = tmp_path / "riddle.py"
    path.write_text(
        "from agentenv import ChatEnv, ListTasks, Task, assistant, reward\n"
        "class Riddle(ChatEnv):\n"
        "    def tasks(self, split='train'):\n"
        "        return ListTasks([Task.ask('egg', 'What breaks before you use it?', answer='egg')])\n"
        "    @reward\n"
        "    def correct(self, completion, answer):\n"
        "        return float(answer in completion)\n"
        "    def oracle(self):\n"
        "        return assistant(self.task.answer)\n"
    )
    report = await audit(str(path), limits=LIMITS)
    assert report.oracle == 1.0
    assert report.count(Severity.ERROR) == 0


async def test_an_environment_whose_constructor_raises_or_refuses_its_arguments_is_one_clear_error() -> None:
    with pytest.raises(RegistryError, match="cannot be built"):
        await audit(spec_of(zoo.Sums), difficulty=3)
    with pytest.raises(RegistryError, match=r"cannot be built from .*RuntimeError: no licence"):
        await audit(EnvSpec(id="zoo/x-v0", entry_point="tests.check.test_audit:without_licence"))


def without_licence() -> Env:
    raise RuntimeError("no licence")


async def test_an_audit_of_no_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one task"):
        await audit(spec_of(zoo.Sums), tasks=0)


def _report(*severities: Severity) -> AuditReport:
    findings = tuple(Finding(probe=Probe.RAISES, severity=severity, summary="raises") for severity in severities)
    return AuditReport(environment="a-v0", findings=findings)


def test_only_errors_make_the_exit_code_unless_asked_otherwise() -> None:
    assert _report().exit_code == 0
    assert _report(Severity.INFO, Severity.WARNING).exit_code == 0
    assert _report(Severity.INFO, Severity.ERROR).exit_code == 1
    assert _report(Severity.WARNING).exit_code_at(Severity.WARNING) == 1
    assert _report(Severity.INFO).exit_code_at(Severity.WARNING) == 0
    assert _report(Severity.INFO, Severity.WARNING).worst is Severity.WARNING


def test_the_json_of_a_report_reads_back_and_has_stable_keys() -> None:
    evidence = Evidence(task_id="t", answer="x", reward=1.0, detail="d")
    finding = Finding(probe=Probe.HEDGE, severity=Severity.ERROR, summary="s", seen=2, trials=3, evidence=evidence)
    report = AuditReport(environment="a-v0", findings=(finding,), tasks=3, episodes=9, oracle=1.0)
    data = json.loads(report.to_json())
    assert AuditReport.model_validate_json(report.to_json()) == report
    assert set(data) == {
        "environment", "fingerprint", "findings", "tasks", "episodes", "seed", "seconds", "oracle",
    }  # fmt: skip
    assert set(data["findings"][0]) == {"probe", "severity", "summary", "seen", "trials", "evidence"}
    assert data["findings"][0]["probe"] == "pays-a-hedge"


def test_the_table_shows_probe_evidence_and_remedy_and_survives_markup_in_answers() -> None:
    evidence = Evidence(task_id="t1", answer="[/red] [bold]", reward=1.0)
    finding = Finding(probe=Probe.HEDGE, severity=Severity.ERROR, summary="pays a hedge", evidence=evidence)
    out = io.StringIO()
    render(AuditReport(environment="a-v0", findings=(finding,)), Console(file=out, width=200))
    text = out.getvalue()
    assert "pays-a-hedge" in text
    assert "[/red] [bold]" in text
    assert "refuse answers that commit" in text
    assert "1 error, 0 warning, 0 info" in text
