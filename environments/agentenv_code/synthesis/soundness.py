"""Whether a backend grades HumanEval as it should: every solution passes, every stub fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agentenv.sandbox import SandboxBackend
from agentenv.tasks import Task
from agentenv_code.grading.cases import read_tests
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.verdict import Verdict
from agentenv_code.synthesis.env import LIMITS


@dataclass(frozen=True, slots=True)
class Judged:
    """What the grader said of a problem's solution, and of its opening with nothing but `pass` in it."""

    id: str
    solution: Verdict
    stub: Verdict

    @property
    def sound(self) -> bool:
        return self.solution.solved and self.stub.passed == 0


async def judge_all(
    backend: SandboxBackend,
    problems: Iterable[Task],
    at_once: int = 4,
    call_seconds: float = 3.0,
    on_judged: Callable[[Judged], None] = lambda judged: None,
) -> list[Judged]:
    """Grades the solution and the stub of each problem, several problems at a time.

    Args:
        on_judged: told of each problem as soon as it is judged.

    Raises:
        ExceptionGroup: of `SandboxFailed`, where a sandbox failed, which says nothing about a program.
    """
    grader = Grader(backend, LIMITS, call_seconds)
    places = asyncio.Semaphore(at_once)

    async def judge(problem: Task) -> Judged:
        async with places:
            exam = read_tests(problem.data["tests"])
            solution = await grader.grade(str(problem.answer), exam)
            stub = await grader.grade(f"{problem.data['opening']}    pass\n", exam)
        judged = Judged(problem.id, solution, stub)
        on_judged(judged)
        return judged

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(judge(problem)) for problem in problems]
    return [task.result() for task in tasks]
