"""`code/python-math-v0`: a question, a Python session, an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentenv.chat import ChatEnv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.rewards import reward
from agentenv.sandbox import ExecResult, Limits, PythonSession, Sandbox, SandboxFailed
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tasks import TaskSet
from agentenv.tools import tool
from agentenv_code.python_math.answers import answer_of, parse_number
from agentenv_code.python_math.problems import from_files, invented
from agentenv_code.terminal.shell import report

SYSTEM_PROMPT = (
    "Solve the problem. You may run Python with the tool `python`; its variables live on from call to call. End your "
    "last reply with the answer alone in \\boxed{}: one number."
)
_LONGEST_CALL = 3600.0
"""Seconds of a tool call; the session has a limit of its own."""


class PythonMath(ChatEnv):
    """Word problems and number theory, with a Python session to work them out.

    A reply without a tool call is the answer; it earns 1 where its one number equals the task's exactly. Whether Python
    was used does not matter. The metric `sessions` counts the interpreters that were begun.

    Args:
        path: a folder of GSM8K's files; by default problems are invented, endlessly.
        sandbox: the backend to play on, as in `agentenv list sandboxes`.
        sandbox_options: what its maker is called with.
        code_seconds: how long one piece of code may take.
        characters: how much of its output is shown, half of it from the start and half from the end.
        system_prompt: sent first when it is not empty.
        seed: of invented problems: another seed is another stream of them over the same splits.
    """

    def __init__(
        self,
        path: str | None = None,
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        code_seconds: float = 10.0,
        characters: int = 4_000,
        system_prompt: str = SYSTEM_PROMPT,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if code_seconds <= 0 or characters < 2:
            raise ConfigError("code_seconds and characters must be above 0")
        self.system_prompt = system_prompt
        self._path = None if path is None else Path(path).expanduser()
        self._task_seed = seed
        self._sandboxes = BorrowedBackend(sandbox, **(sandbox_options or {}))
        self._limits = Limits(wall_seconds=code_seconds)
        self._characters = characters
        self._turn = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._session: PythonSession | None = None
        self._sessions = 0

    def tasks(self, split: str = "train") -> TaskSet:
        return invented(split, self._task_seed) if self._path is None else from_files(self._path, split)

    async def setup(self) -> None:
        if self._sandbox is not None:
            await self._sandbox.close()
        self._sandbox = self._session = None
        self._sessions = 0

    @tool(timeout=_LONGEST_CALL)
    async def python(self, code: str) -> str:
        """Runs Python code and returns what it prints, and the value of a last expression.

        Variables and imports live on from one call to the next.

        Args:
            code: One or more lines of Python.
        """
        async with self._turn:
            result, lost = await self._run(code)
        seconds = self._limits.wall_seconds
        told = report(result, characters=self._characters, seconds=seconds)
        return f"[a new session was begun; all variables are gone]\n{told}" if lost else told

    async def _run(self, code: str) -> tuple[ExecResult, bool]:
        """Runs code in the session there is, or where that has ended in another; whether it was another.

        Raises:
            SandboxFailed: it was not the session that had ended, but the sandbox.
        """
        if self._session is not None:
            try:
                return await self._session.run(code), False
            except SandboxFailed:
                await self._session.close()
                self._session = None
        lost = self._sessions > 0
        if self._sandbox is None:
            self._sandbox = await self._sandboxes.create(self._limits)
        self._session = await self._sandbox.python()
        self._sessions += 1
        return await self._session.run(code), lost

    @reward(inline=True)
    def correct(self, completion: str, answer: object) -> float:
        """1 for the right number."""
        given = answer_of(completion)
        return float(given is not None and given == parse_number(str(answer)))

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        metrics = {**result.info.get("metrics", {}), "sessions": self._sessions}
        info = {**result.info, "metrics": metrics, "isolation": self._sandboxes.isolation}
        return result._replace(info=info)

    def oracle(self) -> Message:
        """The program of an invented problem through the tool, then the answer."""
        program = self.task.data.get("program")
        if program is not None and not self.conversation.turns:
            return assistant(None, ToolCall("compute", "python", json.dumps({"code": program})))
        return assistant(f"\\boxed{{{self.task.answer}}}")

    async def close(self) -> None:
        await self._sandboxes.close()
