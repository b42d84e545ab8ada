"""The conversation every environment here has: a task, one or more programs, a verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from agentenv.chat import ChatEnv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, assistant, user
from agentenv.rewards import Component, Reward
from agentenv.sandbox import MIB, Limits
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tasks import TaskSet
from agentenv_code.grading.cases import read_tests
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.verdict import Verdict
from agentenv_code.synthesis.feedback import rehearse
from agentenv_code.synthesis.replies import fenced, find_program
from agentenv_code.synthesis.rows import read_tasks

MAX_ATTEMPTS = 10
SYSTEM_PROMPT = (
    "Write the Python code that is asked for. Answer with all of it in one block that begins with ```python."
)
LIMITS = Limits(
    wall_seconds=20.0,
    cpu_seconds=10.0,
    memory_bytes=256 * MIB,
    pids=32,
    output_bytes=MIB // 16,
    disk_bytes=16 * MIB,
    files=200,
)
_TASKS = Path(__file__).parent / "tasks"
_NO_PROGRAM = "There is no program in your answer. Put all of it in one block that begins with ```python."


class Synthesis(ChatEnv):
    """Asks for a program until it passes the public tests or the attempts are used up; then hidden tests judge it.

    A program that passes all hidden tests is worth 1, less for each attempt before it. After an attempt that fails a
    public test the policy is told which, with what the program wrote and how it ended; of the hidden tests nothing is
    ever told. How they are kept from the program: see `agentenv_code.grading`.

    The reward has two components: `solved`, whether all hidden tests passed, and `hidden_tests`, the share that did.
    The metrics are `attempts`, and `tampering`, whether the program tried to deceive its grader, which earns 0;
    `info["verdict"]` says what it tried, and `info["isolation"]` how well its sandbox was walled off.

    Args:
        tasks_path: a file with one task a line (see `agentenv_code.synthesis.rows.Row`); by default this package's own.
        attempts: how often the policy may answer.
        decay: what each attempt before the last multiplies the reward with.
        partial: the share of the reward that is paid for the share of the hidden tests, from 0 to 1.
        sandbox: the backend that programs run on, as in `agentenv list sandboxes`.
        sandbox_options: what its maker is called with.
        limits: of each sandbox, where they differ from `LIMITS`: {"memory_bytes": 2**30}.
        call_seconds: for loading a program, and for each call or run of it.
        system_prompt: sent first when it is not empty.
    """

    own_tasks: ClassVar[str] = "functions.jsonl"

    def __init__(
        self,
        tasks_path: str | None = None,
        attempts: int = 1,
        decay: float = 0.5,
        partial: float = 0.0,
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        call_seconds: float = 3.0,
        system_prompt: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__()
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise ConfigError(f"attempts must lie between 1 and {MAX_ATTEMPTS}, got {attempts}")
        for name, share in (("decay", decay), ("partial", partial)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {share}")
        if call_seconds <= 0:
            raise ConfigError(f"call_seconds must be above 0, got {call_seconds}")
        self.system_prompt = system_prompt
        self._tasks_path = tasks_path
        self._attempts, self._decay, self._partial = attempts, decay, partial
        held = _limits(limits or {})
        self._sandboxes = BorrowedBackend(sandbox, **{"limits": held, **(sandbox_options or {})})
        self._grader = Grader(self._sandboxes, held, call_seconds)
        self._programs: list[str | None] = []
        self._verdict: Verdict | None = None

    def tasks(self, split: str = "train") -> TaskSet:
        path = _TASKS / self.own_tasks if self._tasks_path is None else Path(self._tasks_path).expanduser()
        return read_tasks(path, split)

    async def setup(self) -> None:
        self._programs, self._verdict = [], None

    def find_program(self, reply: str) -> str | None:
        """The program in a reply."""
        return find_program(reply)

    async def respond(self, message: Message) -> Sequence[Message] | None:
        code, tests = self.find_program(message.text), read_tests(self.task.data["tests"])
        self._programs.append(code)
        left = self._attempts - len(self._programs)
        if code is None:
            return [user(f"{_NO_PROGRAM}\n{_tries(left)}")] if left else None
        if left and (rehearsal := await rehearse(self._grader, code, tests)) is not None:
            return [user(f"{rehearsal.text()}\n{_tries(left)}")]
        self._verdict = await self._grader.grade(code, tests)
        return None

    async def score(self) -> Reward:
        verdict, worth = self._verdict, self._decay ** (len(self._programs) - 1)
        solved, share = (verdict.solved, verdict.fraction) if verdict else (False, 0.0)
        return Reward.of(
            Component("solved", worth * solved, 1.0 - self._partial),
            Component("hidden_tests", worth * share, self._partial),
        )

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        verdict = self._verdict
        tampering = sorted(verdict.tampering) if verdict else []
        metrics = {
            **result.info.get("metrics", {}),
            "attempts": len(self._programs),
            "tampering": float(bool(tampering)),
        }
        info = {**result.info, "metrics": metrics}
        if verdict is not None:
            info["isolation"] = self._sandboxes.isolation
            told = {"passed": verdict.passed, "total": verdict.total, "problem": verdict.problem}
            info["verdict"] = {**told, "tampering": [str(one) for one in tampering]}
        return result._replace(info=info)

    async def close(self) -> None:
        await self._sandboxes.close()

    def oracle(self) -> Message:
        return assistant(fenced(str(self.task.answer)))

    def state_key(self) -> Hashable:
        return self.task.id, tuple(self._programs)


class Programs(Synthesis):
    """The same for whole programs that read standard input and write standard output."""

    own_tasks = "programs.jsonl"


def _limits(changes: Mapping[str, Any]) -> Limits:
    try:
        return dataclasses.replace(LIMITS, **changes)
    except TypeError as error:
        known = ", ".join(field.name for field in dataclasses.fields(LIMITS))
        raise ConfigError(f"limits: {error}; they are {known}") from error


def _tries(left: int) -> str:
    return "You have one more attempt." if left == 1 else f"You have {left} more attempts."
