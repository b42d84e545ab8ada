"""The world `python`: code in a sandbox. It can do nothing to any other world."""

from __future__ import annotations

import asyncio
import random
from typing import ClassVar

from agentenv.errors import AgentenvError, BoundaryError, SandboxError, UnsupportedError
from agentenv.sandbox import Cause, ExecResult, Limits, Sandbox
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tools import tool
from agentenv_tools.world import World, register_world

CODE_SECONDS = 10.0
"""How long one program may take."""
_CALL_SECONDS = 3600.0
"""Of a call: waiting for a sandbox is nobody's fault, and the program has a limit of its own."""


@register_world
class PythonWorld(World):
    """Runs programs in one sandbox an episode, which is made for the first of them.

    Args:
        sandboxes: where sandboxes come from. Whoever opened it closes it.
    """

    name: ClassVar[str] = "python"
    stateful: ClassVar[bool] = False

    def __init__(self, rng: random.Random, sandboxes: BorrowedBackend) -> None:
        self._sandboxes = sandboxes
        self._sandbox: Sandbox | None = None
        self._turn = asyncio.Lock()

    @tool(timeout=_CALL_SECONDS)
    async def python(self, code: str) -> str:
        """Runs a Python program and returns what it prints.

        Every call is a program of its own: variables are gone afterwards, files in the working folder stay.

        Args:
            code: The program. It has to print what you want to see.
        """
        async with self._turn:
            if self._sandbox is None:
                self._sandbox = await self._made()
            return told(await self._sandbox.run_python(code, seed=0))

    async def _made(self) -> Sandbox:
        """A sandbox. That there is none is not for the policy to read: it is raised out of the tool.

        Raises:
            SandboxError: none can be made.
        """
        try:
            return await self._sandboxes.create(Limits(wall_seconds=CODE_SECONDS))
        except BoundaryError:
            raise
        except AgentenvError as problem:
            raise SandboxError(f"there is no sandbox to run Python in: {problem}") from problem

    def snapshot(self) -> None:
        """Nothing, as long as no program was run. Raises `UnsupportedError` afterwards."""
        if self._sandbox is not None:
            raise UnsupportedError("an episode in which Python was run cannot be snapshotted")

    def restore(self, snapshot: None) -> None:
        return None

    async def close(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await sandbox.close()


def told(result: ExecResult) -> str:
    """What a policy is told of a program."""
    parts = [result.stdout.text, result.stderr.text]
    if result.cause not in (Cause.OK, Cause.PROGRAM_ERROR):
        parts.append(f"[stopped: it {result.message or result.cause.value}]")
    elif result.exit_code and not result.stderr.text:
        parts.append(f"[exit code {result.exit_code}]")
    return "\n".join(part.rstrip("\n") for part in parts if part) or "[it printed nothing]"
