"""Audits many environments and writes one table of everything found.

    python examples/survey_environments.py                          # everything installed, to docs/check-findings.md
    python examples/survey_environments.py 'reasoning_gym/*' --tasks 10 --output /tmp/findings.md

Every environment is audited in a process of its own that is killed when it does not end: a verifier that holds the
interpreter's lock for ever can then spoil nothing but its own line. The tables replace what stands between the two
`survey` marks of the output file; the text around them is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import importlib.metadata
import platform
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from agentenv.check import AuditReport, Evidence, Finding, Probe, Severity, audit
from agentenv.errors import AgentenvError
from agentenv.registry import list_environments

BEGIN, END = "<!-- survey:begin -->", "<!-- survey:end -->"
KILL_SECONDS = 240.0
SCRIPT = str(Path(__file__).resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="ids to audit, with wildcards")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("docs/check-findings.md"))
    parser.add_argument("--one", metavar="ID", help="audit one environment and print its report as JSON")
    options = parser.parse_args()
    if options.one:
        print(asyncio.run(audit(options.one, tasks=options.tasks, seed=options.seed)).to_json())
        return
    ids = [spec.id for spec in list_environments() if any(fnmatch.fnmatch(spec.id, one) for one in options.patterns)]
    if not ids:
        sys.exit(f"no environment matches {' '.join(options.patterns)}; see `agentenv list`")
    reports = asyncio.run(survey(ids, options.tasks, options.seed, options.processes))
    write(options.output, page(reports, options.tasks, options.seed))
    broken = sum(report.exit_code for report in reports)
    print(f"{len(reports)} environments, {broken} with errors: {options.output}")


async def survey(ids: list[str], tasks: int, seed: int, processes: int) -> list[AuditReport]:
    """The reports of all ids, in their order."""
    room = asyncio.Semaphore(processes)
    with Progress() as progress:
        bar = progress.add_task("auditing", total=len(ids))

        async def one(id: str) -> AuditReport:
            async with room:
                report = await in_own_process(id, tasks, seed)
            progress.advance(bar)
            return report

        return await asyncio.gather(*(one(id) for id in ids))


async def in_own_process(id: str, tasks: int, seed: int) -> AuditReport:
    """One audit. A process that dies or does not end becomes a finding of its own."""
    command = (sys.executable, SCRIPT, "--one", id, "--tasks", str(tasks), "--seed", str(seed))
    pipe = asyncio.subprocess.PIPE
    with TemporaryDirectory(prefix="agentenv-survey-") as folder:  # one dataset's own code writes where it stands
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, cwd=folder)
        try:
            async with asyncio.timeout(KILL_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            return _failed(id, Probe.HANGS, f"the audit's process did not end in {KILL_SECONDS:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    text = output.decode()
    if process.returncode != 0 or "{" not in text:
        lines = errors.decode().strip().splitlines() or ["no message"]
        return _failed(id, Probe.CANNOT_PLAY, lines[-1])
    return AuditReport.model_validate_json(text[text.index("{\n") :])  # a dataset may print dots of its own first


def _failed(id: str, probe: Probe, detail: str) -> AuditReport:
    finding = Finding(probe=probe, severity=Severity.ERROR, summary=detail, evidence=Evidence(detail=detail))
    return AuditReport(environment=id, findings=(finding,))


def page(reports: list[AuditReport], tasks: int, seed: int) -> str:
    """The generated part of the document, as Markdown."""
    return "\n".join([*_made_with(reports, tasks, seed), "", *_summary(reports), "", *_table(reports), ""])


def _made_with(reports: list[AuditReport], tasks: int, seed: int) -> list[str]:
    names = ("reasoning-gym", "gymnasium", "math-verify", "numpy", "sympy")
    versions = [f"{name} {_version(name)}" for name in names]
    seconds = sorted(report.seconds for report in reports)
    episodes = sum(report.episodes for report in reports)
    return [
        f"Made by `python examples/survey_environments.py --tasks {tasks} --seed {seed}` with Python "
        f"{platform.python_version()}, {', '.join(versions)}. {len(reports)} environments, {episodes:,} episodes; "
        f"an audit took {seconds[len(seconds) // 2]:.1f} s in the median and {seconds[-1]:.0f} s at most."
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _summary(reports: list[AuditReport]) -> list[str]:
    worst = Counter(report.worst for report in reports)
    lines = [
        f"{worst[None]} environments without a finding, {worst[Severity.INFO]} with information only, "
        f"{worst[Severity.WARNING]} with warnings, {worst[Severity.ERROR]} with errors.",
        "",
        "| probe | error | warning | info |",
        "| --- | ---: | ---: | ---: |",
    ]
    counts = Counter((finding.probe, finding.severity) for report in reports for finding in report.findings)
    for probe in Probe:
        row = [counts[probe, severity] for severity in reversed(Severity)]
        if any(row):
            lines.append(f"| `{probe.value}` | " + " | ".join(str(count or "") for count in row) + " |")
    return lines


def _table(reports: list[AuditReport]) -> list[str]:
    lines = ["| environment | severity | probe | seen | evidence |", "| --- | --- | --- | ---: | --- |"]
    for report in reports:
        for finding in report.findings:
            seen = f"{finding.seen}/{finding.trials}" if finding.trials else str(finding.seen)
            row = (report.environment, finding.severity.value, f"`{finding.probe.value}`", seen, _evidence(finding))
            lines.append("| " + " | ".join(row) + " |")
    clean = ", ".join(f"`{report.environment}`" for report in reports if not report.findings)
    return [*lines, "", f"Nothing found: {clean or 'none'}."]


def _evidence(finding: Finding) -> str:
    evidence = finding.evidence
    parts = [
        f"sent {_code(evidence.answer)}" if evidence.answer is not None else "",
        f"right {_code(evidence.expected)}" if evidence.expected is not None else "",
        f"reward {evidence.reward:.3g}" if evidence.reward is not None else "",
        _plain(evidence.detail),
    ]
    return "; ".join(part for part in parts if part)


def _code(text: str) -> str:
    short = text if len(text) <= 90 else text[:90] + "…"
    return "<code>" + _plain(short) + "</code>"


def _plain(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
    return escaped.replace("\n", " ").replace("*", "&#42;").replace("_", "&#95;").replace("`", "&#96;")


def write(path: Path, generated: str) -> None:
    """Puts the generated part between the marks of the file, or makes the file."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"# What `agentenv check` finds\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{generated}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except AgentenvError as error:
        sys.exit(str(error))
