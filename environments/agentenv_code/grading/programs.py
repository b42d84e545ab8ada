"""Whole programs on standard input and output: run once for each case, their output compared here."""

from __future__ import annotations

from collections.abc import Sequence

from agentenv.sandbox import ExecResult, Sandbox
from agentenv_code.grading.cases import ProgramCase


async def run_all(sandbox: Sandbox, code: str, cases: Sequence[ProgramCase], seconds: float) -> list[ExecResult]:
    """One execution for each case. What is expected stays here.

    Raises:
        SandboxFailed: the sandbox failed.
    """
    results = []
    for case in cases:
        results.append(await sandbox.run_python(code, stdin=case.stdin.encode(), wall_seconds=seconds))
        await sandbox.kill()  # what one case leaves running must not meet the next
    return results


def judge(case: ProgramCase, result: ExecResult) -> bool:
    """Whether it ended well and wrote what is expected; only white space at the ends of lines and of all may differ."""
    return result.ok and not result.stdout.dropped and _lines(result.stdout.text) == _lines(case.stdout)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
