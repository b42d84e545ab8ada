"""A shell that remembers: each command finds the folder and the variables that the one before it left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from agentenv.errors import SandboxError
from agentenv.sandbox import Cause, ExecResult, Sandbox

MAX_COMMAND = 100_000
"""Bytes of one command; the kernel takes 128 KiB in one argument."""

_KEEP_STATE = r"""
exec 2>&1
__state=$1 __command=$2
set --
[ ! -r "$__state" ] || . "$__state"
trap '{ export -p; printf "cd -- %q\n" "$PWD"; } >"$__state"' EXIT
eval "$__command"
"""


class Shell:
    """Runs commands in a sandbox as one shell would: with a lasting folder and lasting exported variables.

    What a command leaves running goes on running. Functions, aliases and variables that are not exported are forgotten.
    Commands that are sent at once run one after the other.

    Args:
        state: the file in the sandbox that remembers; whoever writes to it deceives nobody else.
        folder, variables: where the first command begins, and what it finds in its environment.
    """

    def __init__(self, sandbox: Sandbox, state: str, folder: str, variables: Mapping[str, str]) -> None:
        self._sandbox, self._state, self._folder, self._variables = sandbox, state, folder, variables
        self._lock = asyncio.Lock()

    @classmethod
    async def open(
        cls, sandbox: Sandbox, *, folder: str, temporary: str, variables: Mapping[str, str] = MappingProxyType({})
    ) -> Self:
        """A shell that begins in `folder` and keeps its state in the folder `temporary`.

        Raises:
            SandboxError: there is no bash in the sandbox.
        """
        result = await sandbox.exec(["bash", "-c", ":"])
        if not result.ok:
            raise SandboxError(f"the sandbox has no bash, which a terminal needs: {result.stderr.text.strip()}")
        return cls(sandbox, f"{temporary}/.shell-state", folder, variables)

    async def run(self, command: str, *, seconds: float) -> ExecResult:
        """Runs one command; what it writes to standard error stands among its output, where it was written.

        Raises:
            ValueError: the command is longer than `MAX_COMMAND`, or holds a NUL.
            SandboxFailed: the sandbox failed.
        """
        if len(command.encode("utf-8", "replace")) > MAX_COMMAND:
            raise ValueError(f"a command has at most {MAX_COMMAND:,} bytes; write large files in several steps")
        if "\0" in command:
            raise ValueError("a command cannot hold a NUL character")
        async with self._lock:
            argv = ["bash", "-c", _KEEP_STATE, "bash", self._state, command]
            return await self._sandbox.exec(argv, env=self._variables, cwd=self._folder, wall_seconds=seconds)


def report(result: ExecResult, *, characters: int, seconds: float) -> str:
    """What an agent is told of an execution: the head and the tail of its output, and how it ended if not well."""
    parts = [shortened(text, characters) for text in (result.stdout.text, result.stderr.text) if text]
    parts = [part if part.endswith("\n") else f"{part}\n" for part in parts]
    if result.cause is Cause.WALL:
        parts.append(f"[stopped: it took longer than {seconds:g} s]")
    elif result.cause is not Cause.OK and result.message:
        parts.append(f"[stopped: it {result.message}]")
    elif result.exit_code:
        parts.append(f"[exit code {result.exit_code}]")
    return "".join(parts).rstrip("\n") or "[no output]"


def shortened(text: str, characters: int) -> str:
    """The head and the tail of a text that is too long, with what is missing between them counted.

    >>> shortened("abcdefghij", 4)
    'ab\\n[6 characters left out]\\nij'
    """
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
