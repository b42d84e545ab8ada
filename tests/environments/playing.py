"""Playing an episode in a test: with the oracle, with fixed messages, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from agentenv.env import Action, Env, StepResult
from agentenv.messages import Message, ToolCall, assistant
from agentenv.tasks import Task


@dataclass(frozen=True, slots=True)
class Played:
    """The steps of one episode."""

    opening: tuple[Message, ...]
    steps: tuple[StepResult, ...]

    @property
    def total(self) -> float:
        assert all(step.reward is not None for step in self.steps)
        return math.fsum(step.reward for step in self.steps if step.reward is not None)

    @property
    def ended(self) -> bool:
        return bool(self.steps) and (self.steps[-1].terminated or self.steps[-1].truncated)

    @property
    def last(self) -> StepResult:
        return self.steps[-1]


async def play_oracle(env: Env, task: Task | None = None, seed: int | None = 0, limit: int = 1000) -> Played:
    """Resets and lets the oracle play to the end."""
    opening, _ = await env.reset(task=task, seed=seed)
    return Played(opening.messages, await continue_oracle(env, limit))


async def continue_oracle(env: Env, limit: int = 1000) -> tuple[StepResult, ...]:
    """Lets the oracle play from where the episode is."""
    steps: list[StepResult] = []
    while len(steps) < limit:
        steps.append(await env.step(Action(env.oracle())))
        if steps[-1].terminated or steps[-1].truncated:
            break
    return tuple(steps)


async def play(env: Env, messages: Iterable[Message | str], task: Task | None = None, seed: int | None = 0) -> Played:
    """Resets and sends these messages until they run out or the episode ends."""
    opening, _ = await env.reset(task=task, seed=seed)
    steps: list[StepResult] = []
    for message in messages:
        steps.append(await env.step(Action(assistant(message) if isinstance(message, str) else message)))
        if steps[-1].terminated or steps[-1].truncated:
            break
    return Played(opening.messages, tuple(steps))


def call(name: str, arguments: str, id: str = "call_0") -> Message:
    """An assistant message with one tool call."""
    return assistant(None, ToolCall(id, name, arguments))
