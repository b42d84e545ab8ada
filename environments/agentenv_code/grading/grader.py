"""The grader: fresh sandboxes for every program, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from agentenv.sandbox import Limits, SandboxBackend
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv_code.grading import functions, programs
from agentenv_code.grading.candidate import Candidate
from agentenv_code.grading.cases import Exam, FunctionTests, ProgramTests, Tests
from agentenv_code.grading.exams import examine
from agentenv_code.grading.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Grader:
    """Grades programs in sandboxes of a backend.

    Attributes:
        sandboxes: where they come from. limits: of each sandbox.
        call_seconds: for loading a program, and for each call or run of it.

    Example:
        verdict = await Grader(BorrowedBackend("local"), Limits()).grade(code, tests)
    """

    sandboxes: BorrowedBackend | SandboxBackend
    limits: Limits
    call_seconds: float = 3.0

    async def grade(self, code: str, tests: Tests) -> Verdict:
        """What the hidden tests say of a program.

        Raises:
            SandboxFailed: a sandbox failed: nothing is known of the program.
            VerifierError: the tests are at fault.
        """
        match tests:
            case FunctionTests():
                return await self._grade_functions(code, tests)
            case ProgramTests():
                return await self._grade_program(code, tests)
            case Exam():
                return await self._examine(code, tests)
            case _:
                assert_never(tests)

    async def _grade_functions(self, code: str, tests: FunctionTests) -> Verdict:
        async with self.sandboxes.sandbox(self.limits) as sandbox:
            replies = await functions.call_all(sandbox, code, tests.name, tests.hidden, self.call_seconds)
        failed = [
            functions.reply_to(replies, number)
            for number, case in enumerate(tests.hidden)
            if not functions.judge(case, functions.reply_to(replies, number), tests.tolerance)
        ]
        total = len(tests.hidden)
        problem = failed[0].why() if failed else ""
        return Verdict(total - len(failed), total, problem, frozenset(replies.tampering))

    async def _grade_program(self, code: str, tests: ProgramTests) -> Verdict:
        async with self.sandboxes.sandbox(self.limits) as sandbox:
            results = await programs.run_all(sandbox, code, tests.hidden, self.call_seconds)
        right = [programs.judge(case, result) for case, result in zip(tests.hidden, results, strict=True)]
        problem = "" if all(right) else results[right.index(False)].message or "wrong output"
        return Verdict(sum(right), len(right), problem)

    async def _examine(self, code: str, exam: Exam) -> Verdict:
        async with (
            self.sandboxes.sandbox(self.limits) as desk,
            self.sandboxes.sandbox(self.limits) as bench,
            Candidate(bench, f"{exam.preamble}\n{code}", self.call_seconds) as candidate,
        ):
            return await examine(desk, candidate, exam)
