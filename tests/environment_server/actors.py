"""Environments to be served, whose every move a test decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import agentenv
from agentenv import (
    Action,
    Component,
    Env,
    EnvSpec,
    Info,
    ListTasks,
    Message,
    Observation,
    Reward,
    SandboxError,
    StepResult,
    SyncEnv,
    Task,
    TaskSet,
    ToolSpec,
    VerifierError,
    assistant,
    user,
)

TASKS = [Task.ask(f"t{number}", f"question {number}", answer=number, secret=f"s{number}") for number in range(5)]
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
OTHER_TOOL = ToolSpec("jump", "Jumps.", {"type": "object", "properties": {}})


def spec(name: str, **fields: Any) -> EnvSpec:
    """The specification of one of the classes below."""
    entry_point = f"tests.environment_server.actors:{name}"
    return EnvSpec.model_validate({"id": f"{name.lower()}-v0", "entry_point": entry_point, **fields})


class Turns(Env):
    """Ends with reward 1 after two turns; the second comes with another tool. Says what it heard and its dice."""

    opened = 0
    closed = 0
    steps = 0

    def __init__(self, turns: int = 2) -> None:
        self._turns = turns

    def tasks(self, split: str = "train") -> TaskSet:
        if split not in ("train", "test"):
            raise agentenv.AgentenvError(f"no split {split!r}")
        return ListTasks(TASKS)

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        type(self).opened += 1
        self.left = self._turns
        return Observation(self.task.prompt, (TOOL,)), {"dice": self.rng.random()}

    async def step(self, action: Action) -> StepResult:
        self.left -= 1
        type(self).steps += 1
        over = self.left <= 0
        said = user(f"you said {action.message.text!r}")
        reward = Reward.of(Component("end", float(over)), Component("style", 0.5, weight=0.0))
        tools = (TOOL,) if self.left >= self._turns - 1 else (TOOL, OTHER_TOOL)
        return StepResult(Observation((said,), tools), reward, over, False, {"dice": self.rng.random()})

    def oracle(self) -> Message:
        return assistant(f"answer {self.task.answer}")

    def state_key(self) -> Hashable:
        return self.task.id, self.left

    async def close(self) -> None:
        type(self).closed += 1


class Waiting(Turns):
    """A step begins, sets `began`, and takes until `go` is set."""

    began: asyncio.Event
    go: asyncio.Event
    stopped = 0

    @classmethod
    def prepare(cls) -> None:
        cls.began, cls.go = asyncio.Event(), asyncio.Event()
        cls.stopped = cls.steps = cls.opened = cls.closed = 0

    async def step(self, action: Action) -> StepResult:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            type(self).stopped += 1
            raise
        return await super().step(action)


class Odd(Turns):
    """Answers its first step in a way that its `kind` names."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        opening = await super().reset(task=task, seed=seed)
        if self.kind == "reset_raises":
            raise RuntimeError("no reset today")
        if self.kind == "ignores_the_seed":
            self._seed = 12345
        return opening

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        match self.kind:
            case "raises":
                raise ZeroDivisionError("division by zero")
            case "sandbox":
                raise SandboxError("the container has gone")
            case "verifier":
                raise VerifierError("the grader hung")
            case "exit":
                raise SystemExit(3)
            case "hangs":
                await asyncio.Event().wait()
            case "rubbish":
                return "rubbish"  # type: ignore[return-value]
            case "text_reward":
                return result._replace(reward="much")  # type: ignore[arg-type]
            case "infinite_reward":
                return result._replace(reward=float("inf"))
            case "unscored":
                return result._replace(reward=None)
            case "nan_info":
                return result._replace(info={"metrics": {"loss": float("nan"), "steps": 3}})
            case "strange_info":
                return result._replace(info={"where": Path("/tmp"), "what": {1, 2}, ("a", "b"): 1})
            case "strange_message":
                return result._replace(observation=Observation((user(object()),)))  # type: ignore[arg-type]
            case "surrogates":
                return result._replace(observation=Observation((user("half a \ud83d pair"),)))
        return result


class Blocking(SyncEnv):
    """Synchronous, and takes its time over every step."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks(TASKS)

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        return Observation(self.task.prompt), {}

    def step(self, action: Action) -> StepResult:
        time.sleep(self._seconds)
        return StepResult(Observation((user("done"),)), 1.0, True, False, {})


class Marked(Turns):
    """Leaves a file in a folder for as long as it is open, and one more for every step that begins."""

    def __init__(self, folder: str, seconds: float = 0.0) -> None:
        super().__init__(turns=1000)
        self._folder = Path(folder)
        self._seconds = seconds
        self._file = self._folder / f"open-{id(self)}"

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self._file.touch()
        return await super().reset(task=task, seed=seed)

    async def step(self, action: Action) -> StepResult:
        (self._folder / f"step-{time.monotonic_ns()}").touch()
        await asyncio.sleep(self._seconds)
        return await super().step(action)

    async def close(self) -> None:
        self._file.unlink(missing_ok=True)
