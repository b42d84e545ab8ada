"""What a policy is told after an attempt: how its program did on the public tests, and never on others."""

from __future__ import annotations

from dataclasses import dataclass

from agentenv.sandbox import ExecResult
from agentenv_code.grading import functions, programs
from agentenv_code.grading.cases import FunctionTests, ProgramTests, Tests
from agentenv_code.grading.comparison import show
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.replies import Outcome, Reply
from agentenv_code.synthesis.rows import expectation

_MOST_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A run of the public tests.

    Attributes:
        passed, total: tests. failing: the first that failed, in words.
        printed: what the program wrote to standard output meanwhile. result: of the execution.
    """

    passed: int
    total: int
    failing: str
    printed: str
    result: ExecResult

    def text(self) -> str:
        """What the policy reads."""
        parts = [f"{self.passed} of {self.total} public tests passed. {self.failing}"]
        for name, output in (("Standard output", self.printed), ("Standard error", self.result.stderr.text)):
            if output.strip():
                parts.append(f"{name}:\n{_cut(output.strip())}")
        why = f" ({self.result.message})" if self.result.message else ""
        parts.append(f"Exit code: {self.result.exit_code}{why}")
        return "\n".join(parts)


async def rehearse(grader: Grader, code: str, tests: Tests) -> Rehearsal | None:
    """Runs the public tests in a sandbox of their own, which hidden tests never enter; `None` where all of them pass.

    Raises:
        SandboxFailed: a sandbox failed.
    """
    if isinstance(tests, FunctionTests) and tests.public:
        return await _functions(grader, code, tests)
    if isinstance(tests, ProgramTests) and tests.public:
        return await _programs(grader, code, tests)
    return None


async def _functions(grader: Grader, code: str, tests: FunctionTests) -> Rehearsal | None:
    async with grader.sandboxes.sandbox(grader.limits) as sandbox:
        replies = await functions.call_all(sandbox, code, tests.name, tests.public, grader.call_seconds)
    failed = [
        f"`{case.call(tests.name)}` {expectation(case)}, but yours {_what(reply, asked=case.leaves is not None)}."
        for number, case in enumerate(tests.public)
        if not functions.judge(case, reply := functions.reply_to(replies, number), tests.tolerance)
    ]
    if not failed:
        return None
    total = len(tests.public)
    return Rehearsal(total - len(failed), total, failed[0], replies.printed, replies.result)


async def _programs(grader: Grader, code: str, tests: ProgramTests) -> Rehearsal | None:
    async with grader.sandboxes.sandbox(grader.limits) as sandbox:
        results = await programs.run_all(sandbox, code, tests.public, grader.call_seconds)
    pairs = list(zip(tests.public, results, strict=True))
    failed = [(case, result) for case, result in pairs if not programs.judge(case, result)]
    if not failed:
        return None
    case, result = failed[0]
    failing = f"For the input\n{_cut(case.stdin)}\nthe output should be\n{_cut(case.stdout)}"
    return Rehearsal(len(pairs) - len(failed), len(pairs), failing, result.stdout.text, result)


def _what(reply: Reply, *, asked: bool) -> str:
    if reply.outcome is not Outcome.RETURNED:
        return reply.why()
    left = f" and leaves them as `{', '.join(map(show, reply.left or ()))}`" if asked else ""
    return f"returned `{show(reply.value)}`{left}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
