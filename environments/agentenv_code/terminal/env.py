"""`code/terminal-v0`: a task, a shell, and tests that come afterwards."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentenv.chat import ChatEnv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError, UnsupportedError
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.rewards import reward
from agentenv.sandbox import Network
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tasks import ListTasks, TaskSet
from agentenv.threads import THREADS
from agentenv.tools import tool
from agentenv_code.terminal.done import DONE, GO_ON, is_done
from agentenv_code.terminal.folder import TaskFolder, read_folders
from agentenv_code.terminal.ground import Ground, PlainGround, Site
from agentenv_code.terminal.images import ImageGround
from agentenv_code.terminal.shell import Shell, report
from agentenv_code.terminal.verifier import Verdict, judge

OWN_TASKS = Path(__file__).parent / "tasks"
SYSTEM_PROMPT = (
    "You work in a Linux terminal through the tool `bash`. Do what is asked and check your work. When you have "
    f"finished, answer {DONE} on a line of its own, without calling a tool: that ends the session, and what you leave "
    "behind is tested."
)
_LONGEST_CALL = 24 * 3600.0
"""Seconds of a tool call; the shell has a limit of its own."""


class Terminal(ChatEnv):
    """Plays task folders in Harbor's format, as terminal-bench 2 has them.

    The agent works with `bash` until it answers `DONE`; another answer ends nothing. Then its processes are ended, the
    task's tests are brought in and run, and the reward they write is the episode's. The time of its commands together
    is limited by the task's `agent.timeout_sec`; the time a policy thinks is not counted. The metric `verifier_broken`
    counts episodes whose tests gave no reward because of what the agent left; they earn 0.

    Args:
        tasks_path: a folder of task folders, or one of them; by default five of this package's own.
        names: play these tasks alone.
        default_split: the split of tasks whose task.toml names none (`metadata.split`).
        sandbox: the backend to play on, as in `agentenv list sandboxes`. With `docker` each task is played in its own
            image, elsewhere in the backend's one, which not every task allows (`metadata.local_programs`).
        sandbox_options: what the backend's maker is called with. An `image` for `docker` stands for every task's own.
        network: whether tasks may reach the network that do not forbid it themselves.
        command_seconds: how long one command may take.
        characters: how much of a command's output is shown, half of it from the start and half from the end.
        system_prompt: sent first when it is not empty.

    Raises:
        ConfigError: a task breaks the format, or needs more than the sandbox has.
        MissingDataError: there are no tasks at `tasks_path`.
    """

    def __init__(
        self,
        tasks_path: str | None = None,
        names: Sequence[str] | None = None,
        default_split: str = "test",
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        network: bool = False,
        command_seconds: float = 60.0,
        characters: int = 8_000,
        system_prompt: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__()
        if command_seconds <= 0 or characters < 2:
            raise ConfigError("command_seconds and characters must be above 0")
        self.system_prompt = system_prompt
        self._tasks_path = OWN_TASKS if tasks_path is None else Path(tasks_path).expanduser()
        self._default_split = default_split
        self._names = None if names is None else tuple(names)
        self._ground = _ground(sandbox, sandbox_options or {}, network, command_seconds)
        self._sandbox_name = sandbox
        self._command_seconds, self._characters = command_seconds, characters
        self._folder: TaskFolder | None = None
        self._site: Site | None = None
        self._shell: Shell | None = None
        self._verdict: Verdict | None = None
        self._used_seconds = 0.0
        self._turn = asyncio.Lock()

    def tasks(self, split: str = "train") -> TaskSet:
        folders = read_folders(self._tasks_path, self._names)
        for folder in folders:
            self._refuse_unplayable(folder)
        rows = [folder.task(self._default_split) for folder in folders]
        found = [row for row in rows if row.split == split]
        if not found:
            splits = ", ".join(sorted({row.split for row in rows}))
            raise ConfigError(f"{self._tasks_path} has no tasks in the split {split!r}; it has {splits}")
        return ListTasks(found)

    async def setup(self) -> None:
        self._verdict, self._used_seconds = None, 0.0
        await self._leave_site()
        folder = self._folder = await THREADS.run(self._find_folder)
        site = self._site = await self._ground.site(folder)
        self._shell = await Shell.open(
            site.sandbox, folder=site.work, temporary=site.temporary, variables=site.variables
        )

    def _find_folder(self) -> TaskFolder:
        (folder,) = read_folders(self._tasks_path, [self.task.id])
        self._refuse_unplayable(folder)
        return folder

    def _refuse_unplayable(self, folder: TaskFolder) -> None:
        obstacles = self._ground.obstacles(folder)
        if obstacles:
            raise ConfigError(
                f"the task {folder.name} cannot be played with sandbox={self._sandbox_name!r}: {'; '.join(obstacles)}. "
                "Name other tasks with names=[…], or another sandbox"
            )

    @tool(timeout=_LONGEST_CALL)
    async def bash(self, command: str) -> str:
        """Runs a command in the terminal and returns its output.

        The working folder and exported variables last from one call to the next. Nobody can answer a program that asks.

        Args:
            command: One or more lines for bash.
        """
        folder, shell = self._playing()
        async with self._turn:  # the calls of one turn share what is left of the time
            seconds = min(self._command_seconds, (folder.settings.agent.timeout_sec or math.inf) - self._used_seconds)
            if seconds <= 0:
                return f"[the time for this task is used up; answer {DONE}]"
            result = await shell.run(command, seconds=seconds)
            self._used_seconds += result.usage.wall_seconds
        return report(result, characters=self._characters, seconds=seconds)

    async def respond(self, message: Message) -> Sequence[Message] | None:
        return None if is_done(message.text) else [user(GO_ON)]

    @reward
    async def solved(self) -> float:
        """What the task's tests say."""
        folder, _ = self._playing()
        assert self._site is not None
        self._verdict = await judge(self._ground, folder, self._site)
        return self._verdict.reward

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if self._verdict is None or self._site is None:
            return result
        parts = {f"verifier_{name}": value for name, value in self._verdict.parts.items()}
        metrics = {**result.info["metrics"], **parts, "verifier_broken": self._verdict.broken}
        isolation = self._site.sandbox.isolation
        return result._replace(info={**result.info, "metrics": metrics, "isolation": isolation})

    def oracle(self) -> Message:
        """The reference solution through the tool, then an answer."""
        folder, _ = self._playing()
        if self.conversation.turns:
            return assistant(DONE)
        solution = folder.solution()
        if solution is None:
            raise UnsupportedError(f"the task {folder.name} comes without solution/solve.sh")
        return assistant(None, ToolCall("solve", "bash", json.dumps({"command": solution})))

    async def close(self) -> None:
        await self._ground.close()

    async def _leave_site(self) -> None:
        if self._site is not None:
            await self._site.sandbox.close()
        self._site = self._shell = None

    def _playing(self) -> tuple[TaskFolder, Shell]:
        if self._folder is None or self._shell is None:
            raise UnsupportedError("no episode is being played; call reset() first")
        return self._folder, self._shell


def _ground(sandbox: str, options: Mapping[str, Any], network: bool, command_seconds: float) -> Ground:
    """Each task in its own image where there are images, and none is named for all of them."""
    reach = Network.HOST if network else Network.NONE
    if sandbox == "docker" and "image" not in options:
        return ImageGround(options, network=reach, command_seconds=command_seconds)
    return PlainGround(BorrowedBackend(sandbox, **options), network=reach, command_seconds=command_seconds)
