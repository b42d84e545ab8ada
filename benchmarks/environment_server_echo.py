"""OpenEnv's echo environment as one of ours, and a server for it: `... environment_server_echo VARIANT PORT`."""

from __future__ import annotations

import asyncio
import sys

from agentenv import Action, Env, EnvSpec, Info, ListTasks, Observation, StepResult, SyncEnv, Task, TaskSet, user
from agentenv.gateway.environments import EnvironmentServer, ServerConfig

READY = Task.ask("echo", "ready!")


class Echo(Env):
    """Says what it is told. The reward grows with the length, to 1."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([READY])

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self.steps = 0
        return Observation(self.task.prompt), {}

    async def step(self, action: Action) -> StepResult:
        return self.echo(action.message.text)

    def echo(self, text: str) -> StepResult:
        self.steps += 1
        info = {"original_message": text, "step": self.steps}
        return StepResult(Observation((user(text),)), min(len(text) * 0.1, 1.0), False, False, info)


class BlockingEcho(SyncEnv):
    """The same as synchronous code, which runs in a thread."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([READY])

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self.steps = 0
        return Observation(self.task.prompt), {}

    def step(self, action: Action) -> StepResult:
        self.steps += 1
        text = action.message.text
        info = {"original_message": text, "step": self.steps}
        return StepResult(Observation((user(text),)), min(len(text) * 0.1, 1.0), False, False, info)


async def serve(variant: str, port: int) -> None:
    attribute = {"async": "Echo", "thread": "BlockingEcho"}[variant]
    spec = EnvSpec(id="echo-v0", entry_point=f"benchmarks.environment_server_echo:{attribute}")
    async with EnvironmentServer(spec, ServerConfig(port=port)):
        await asyncio.Event().wait()


def main() -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
    else:
        uvloop.run(serve(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
