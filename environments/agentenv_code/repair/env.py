"""`code/repair-v0`: a repository with a bug, and tests that the agent does not see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentenv.chat import ChatEnv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.rewards import reward
from agentenv.sandbox import MIB, Limits, Sandbox, SandboxFileError
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tasks import ListTasks, TaskSet
from agentenv.threads import THREADS
from agentenv.tools import tool
from agentenv_code.repair.changes import Changes, unified_diff
from agentenv_code.repair.instances import Instance, read_instances
from agentenv_code.repair.judge import Judgement, judge
from agentenv_code.terminal.done import DONE, GO_ON, is_done
from agentenv_code.terminal.files import download_tree, write_tree
from agentenv_code.terminal.shell import Shell, report

OWN_INSTANCES = Path(__file__).parent / "data"
SYSTEM_PROMPT = (
    "You repair bugs in a repository of Python code, which is the working folder of your tools. Find the cause of the "
    "problem described and repair it in the code; changes to tests are not taken over. `python3 -m unittest` runs the "
    f"tests there are. When you have finished, answer {DONE} on a line of its own, without calling a tool: then other "
    "tests are run, too."
)
_MOST_FILES, _MOST_BYTES = 2_000, 16 * MIB
_LONGEST_CALL = 3600.0
"""Seconds of a tool call; the shell has a limit of its own."""


class Repair(ChatEnv):
    """Bugs in SWE-bench's shape, in small repositories of this package's own that need nothing but Python.

    The agent has `bash` and `edit` until it answers `DONE`. What it changed is then read as data and applied to a fresh
    copy of the repository in a fresh sandbox, without its changes to tests and to what configures them. The reward is 1
    where every test of FAIL_TO_PASS and of PASS_TO_PASS passes, else 0.

    Metrics: `fail_to_pass` and `pass_to_pass`, the share of each that passed; `dropped`, how many changed files were
    not taken over; `tampering`, whether something was done to deceive the tests, which earns 0. `info["patch"]` is what
    was judged, as a diff.

    Args:
        tasks_path: a folder of instances; by default this package's own.
        sandbox: the backend to play on, as in `agentenv list sandboxes`.
        sandbox_options: what its maker is called with.
        command_seconds: how long one command may take, and the tests together.
        characters: how much of a command's output is shown, half of it from the start and half from the end.
        system_prompt: sent first when it is not empty.

    Raises:
        MissingDataError, ConfigError: there are no instances at `tasks_path`, or one breaks the format.
    """

    def __init__(
        self,
        tasks_path: str | None = None,
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        command_seconds: float = 30.0,
        characters: int = 8_000,
        system_prompt: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__()
        if command_seconds <= 0 or characters < 2:
            raise ConfigError("command_seconds and characters must be above 0")
        self.system_prompt = system_prompt
        self._path = OWN_INSTANCES if tasks_path is None else Path(tasks_path).expanduser()
        self._sandboxes = BorrowedBackend(sandbox, **(sandbox_options or {}))
        self._limits = Limits(wall_seconds=command_seconds, cpu_seconds=command_seconds)
        self._characters = characters
        self._instance: Instance | None = None
        self._sandbox: Sandbox | None = None
        self._shell: Shell | None = None
        self._root = ""
        self._changes: Changes | None = None
        self._judgement: Judgement | None = None

    def tasks(self, split: str = "train") -> TaskSet:
        instances = read_instances(self._path).values()
        found = [instance.task() for instance in instances if instance.split == split]
        if not found:
            splits = ", ".join(sorted({instance.split for instance in instances}))
            raise ConfigError(f"{self._path} has no instances in the split {split!r}; it has {splits}")
        return ListTasks(found)

    async def setup(self) -> None:
        self._changes = self._judgement = self._shell = None
        if self._sandbox is not None:
            await self._sandbox.close()
        instance = self._instance = await THREADS.run(self._find_instance)
        sandbox = self._sandbox = await self._sandboxes.create(self._limits)
        await write_tree(sandbox, instance.snapshot.items(), ".")
        self._root, temporary = (await sandbox.exec('pwd; echo "${TMPDIR:-/tmp}"')).stdout.text.splitlines()
        self._shell = await Shell.open(sandbox, folder=self._root, temporary=temporary)

    def _find_instance(self) -> Instance:
        instance = read_instances(self._path).get(self.task.id)
        if instance is None:
            raise ConfigError(f"{self._path} has no instance {self.task.id!r}")
        if self.task.data.get("base_commit") != instance.base_commit:
            raise ConfigError(f"the repository of {self.task.id} is another than when this task was made")
        return instance

    @tool(timeout=_LONGEST_CALL)
    async def bash(self, command: str) -> str:
        """Runs a command in the repository and returns its output.

        The working folder and exported variables last from one call to the next. Nobody can answer a program that asks.

        Args:
            command: One or more lines for bash.
        """
        _, _, shell = self._playing()
        seconds = self._limits.wall_seconds
        return report(await shell.run(command, seconds=seconds), characters=self._characters, seconds=seconds)

    @tool(timeout=_LONGEST_CALL)
    async def edit(self, path: str, old: str, new: str) -> str:
        """Replaces a piece of a file of the repository.

        Args:
            path: The file, relative to the root of the repository.
            old: The text to be replaced, which must occur exactly once. Leave it empty to write a new file.
            new: What stands there afterwards.
        """
        _, sandbox, _ = self._playing()
        if not old:
            await sandbox.write(f"{self._root}/{path}", new.encode())
            return f"{path} is written"
        text = (await sandbox.read(f"{self._root}/{path}")).decode("utf-8")
        count = text.count(old)
        if count != 1:
            raise ValueError(f"the text to be replaced occurs {count} times in {path}, not once")
        await sandbox.write(f"{self._root}/{path}", text.replace(old, new).encode())
        return f"{path} is changed"

    async def respond(self, message: Message) -> Sequence[Message] | None:
        return None if is_done(message.text) else [user(GO_ON)]

    @reward
    async def resolved(self) -> float:
        """1 where every test passes that should."""
        instance, sandbox, _ = self._playing()
        await sandbox.kill()
        try:
            after = await download_tree(sandbox, self._root, files=_MOST_FILES, size=_MOST_BYTES)
        except SandboxFileError:
            return 0.0  # what cannot be read, or is beyond all measure, is no repair
        self._changes = Changes.between(instance.snapshot, after)
        self._judgement = await judge(self._sandboxes, self._limits, instance, self._changes)
        return float(not self._changes.tampering and self._judgement.resolves(instance))

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if self._judgement is None or self._changes is None:
            return result
        instance, _, _ = self._playing()
        tampering = [*self._changes.tampering, *self._judgement.tampering]
        metrics = {
            **result.info["metrics"],
            "fail_to_pass": self._judgement.passed(instance.fail_to_pass),
            "pass_to_pass": self._judgement.passed(instance.pass_to_pass),
            "dropped": len(self._changes.dropped),
            "tampering": bool(tampering),
        }
        patch = unified_diff(instance.snapshot, self._changes.applied(instance.snapshot))
        info = {**result.info, "metrics": metrics, "patch": patch, "tampering": tampering}
        info["isolation"] = self._sandboxes.isolation
        return result._replace(info=info)

    def oracle(self) -> Message:
        """The files of the gold patch through `bash`, then an answer."""
        instance, _, _ = self._playing()
        if self.conversation.turns:
            return assistant(DONE)
        pieces = [f"cat >{path} <<'END_OF_FILE'\n{data.decode()}END_OF_FILE" for path, data in instance.gold.items()]
        command = "\n".join([*pieces, "python3 -m unittest -q 2>&1 | tail -n 1"])
        return assistant(None, ToolCall("repair", "bash", json.dumps({"command": command})))

    async def close(self) -> None:
        await self._sandboxes.close()

    def _playing(self) -> tuple[Instance, Sandbox, Shell]:
        if self._instance is None or self._sandbox is None or self._shell is None:
            raise UnsupportedError("no episode is being played; call reset() first")
        return self._instance, self._sandbox, self._shell
