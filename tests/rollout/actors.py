"""Environments and policies whose every move a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from agentenv import Action, Env, EnvSpec, Info, Message, Observation, StepResult, Task, ToolSpec, assistant, user
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.rollout import EpisodeRequest, group_requests

HEALTHY = EnvSpec(id="healthy-v0", entry_point="tests.rollout.actors:Turns")


class Turns(Env):
    """Ends with reward 1 after as many turns as its task says."""

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        self.left = int(self.task.data.get("turns", 1))
        return Observation(self.task.prompt), {}

    async def step(self, action: Action) -> StepResult:
        self.left -= 1
        over = self.left <= 0
        return StepResult(Observation((user(f"{self.left} left"),)), float(over), over, False, {"left": self.left})


class Scripted(Policy):
    """Answers what a function of the conversation says; a plain greeting unless told otherwise."""

    name = "scripted"

    def __init__(self, answer: Callable[[Sequence[Message]], str] = lambda messages: "hello") -> None:
        self.answer = answer
        self.sessions: list[Session] = []

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        self.sessions.append(session)
        return Completion(assistant(self.answer(messages)))


def spec(name: str, **fields: object) -> EnvSpec:
    return EnvSpec.model_validate({"id": f"{name}-v0", "entry_point": f"tests:{name}", **fields})


def make_from(**classes: Callable[[], Env]) -> Callable[[EnvSpec], Env]:
    """`make_env` for the specifications of `spec(name)`."""
    return lambda wanted: classes[wanted.id.removesuffix("-v0")]()


def tasks(count: int, *, prefix: str = "task", turns: int = 1) -> list[Task]:
    return [Task.ask(f"{prefix}-{number}", f"question {number}", turns=turns) for number in range(count)]


def requests(wanted: EnvSpec, count: int, *, turns: int = 1, siblings: int = 1) -> list[EpisodeRequest]:
    return list(group_requests(wanted, tasks(count, prefix=wanted.id, turns=turns), siblings=siblings))


async def settle(condition: Callable[[], bool]) -> None:
    """Lets the loop run until the condition holds (the test's own time limit ends a wait in vain)."""
    while not condition():  # noqa: ASYNC110 - any condition, not only those somebody announces
        await asyncio.sleep(0.001)


def flatten(groups: Iterable[Iterable[EpisodeRequest]]) -> list[EpisodeRequest]:
    return [request for group in groups for request in group]
