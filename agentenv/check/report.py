"""What an audit found: plain data, its JSON, and its table."""

from __future__ import annotations

from enum import StrEnum

import pydantic
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentenv.check.catalogue import EXPLANATIONS, Probe


class Severity(StrEnum):
    """`ERROR`: training on it would go wrong. `WARNING`: look at it. `INFO`: good to know."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for error."""
        return list(Severity).index(self)


class Evidence(pydantic.BaseModel, frozen=True):
    """One case that shows the finding. `answer` is what was sent, shortened; `expected` is the right one."""

    task_id: str | None = None
    attack: str | None = None
    answer: str | None = None
    expected: str | None = None
    reward: float | None = None
    detail: str = ""


class Finding(pydantic.BaseModel, frozen=True):
    """One thing that is wrong, with its first evidence. `seen` of `trials` cases showed it; 0 trials: not counted."""

    probe: Probe
    severity: Severity
    summary: str
    seen: int = 1
    trials: int = 0
    evidence: Evidence = Evidence()

    @property
    def remedy(self) -> str:
        return EXPLANATIONS[self.probe].remedy


class AuditReport(pydantic.BaseModel, frozen=True):
    """Everything one audit found, worst first.

    `tasks` were looked at, `episodes` played; `oracle` is the mean return of the oracle, `None` without one.
    """

    environment: str
    fingerprint: str = ""
    findings: tuple[Finding, ...] = ()
    tasks: int = 0
    episodes: int = 0
    seed: int = 0
    seconds: float = 0.0
    oracle: float | None = None

    @property
    def worst(self) -> Severity | None:
        return max((finding.severity for finding in self.findings), key=lambda found: found.rank, default=None)

    @property
    def exit_code(self) -> int:
        """1 when there is an error, otherwise 0. Warnings alone pass; see `exit_code_at`."""
        return self.exit_code_at(Severity.ERROR)

    def exit_code_at(self, severity: Severity) -> int:
        """1 when anything at least as severe was found, otherwise 0."""
        return int(any(finding.severity.rank >= severity.rank for finding in self.findings))

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def to_json(self) -> str:
        """Indented JSON; `AuditReport.model_validate_json` reads it back."""
        return self.model_dump_json(indent=2)


_COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def render(report: AuditReport, console: Console) -> None:
    """Prints the findings as a table with evidence and remedy, and one line of verdict."""
    if report.findings:
        table = Table(title=f"check of {escape(report.environment)}", title_justify="left", show_lines=True)
        table.add_column("severity")
        table.add_column("probe", overflow="fold")
        table.add_column("what was found, and what to do", overflow="fold", ratio=1)
        for finding in report.findings:
            colour = _COLOUR[finding.severity]
            table.add_row(f"[{colour}]{finding.severity.value}[/]", finding.probe.value, _cell(finding))
        console.print(table)
    counts = ", ".join(f"{report.count(severity)} {severity.value}" for severity in reversed(Severity))
    oracle = "no oracle" if report.oracle is None else f"oracle earns {report.oracle:.3g}"
    colour = _COLOUR[report.worst] if report.worst else "green"
    console.print(
        f"[{colour}]{escape(report.environment)}: {counts}[/] "
        f"({report.tasks} tasks, {report.episodes} episodes, {oracle}, {report.seconds:.1f} s)"
    )


def _cell(finding: Finding) -> str:
    evidence = finding.evidence
    lines = [f"[bold]{escape(finding.summary)}[/]"]
    if finding.trials:
        lines[0] += f" ({finding.seen} of {finding.trials})"
    shown = {
        "task": evidence.task_id,
        "sent": evidence.answer,
        "right": evidence.expected,
        "reward": None if evidence.reward is None else f"{evidence.reward:.4g}",
        "seen": evidence.detail or None,
    }
    lines += [f"{name}: {escape(value)}" for name, value in shown.items() if value is not None]
    lines.append(f"[dim]→ {escape(finding.remedy)}[/]")
    return "\n".join(lines)


def shorten(text: str, limit: int = 160) -> str:
    """One printable line of at most `limit` characters, with the length where something was left out.

    >>> shorten("a\\nb")
    'a\\\\nb'
    """
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: 2 * limit])
    if len(line) <= limit and len(text) <= 2 * limit:
        return line
    return f"{line[:limit]}… ({len(text):,} characters)"
