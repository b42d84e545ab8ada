"""One browser for all tests of a worker, shared as a run shares it; environments of single tasks, and their plays."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from agentenv.env import Action, StepResult
from agentenv.messages import ToolCall, assistant
from agentenv.resources import Resources
from agentenv_gui.actions import Action as GuiAction
from agentenv_gui.miniwob.env import MiniWoB
from agentenv_gui.miniwob.tasks import Assignment
from tests.conftest import require
from tests.support.chromium import require_chromium

Make = Callable[..., MiniWoB]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers() -> AsyncIterator[Resources]:
    require_chromium()
    require(importlib.util.find_spec("miniwob") is not None, "MiniWoB++ (pip install --no-deps miniwob)")
    async with Resources() as resources:
        yield resources


@pytest_asyncio.fixture(loop_scope="session")
async def make(browsers: Resources) -> AsyncIterator[Make]:
    """Makes environments that share the browser, and closes them."""
    made: list[MiniWoB] = []

    def one(*arguments: Any, **options: Any) -> MiniWoB:
        made.append(MiniWoB(*arguments, **options))
        return made[-1]

    with browsers.active():
        yield one
        for env in made:
            await env.close()


async def begun(env: MiniWoB, name: str | None = None, seed: int = 0) -> str:
    """Starts an episode. Returns what the policy is shown."""
    task = Assignment(name or env.names[0], seed).task("test")
    observation, _ = await env.reset(task=task, seed=0)
    return observation.messages[-1].text


async def done(env: MiniWoB, *actions: GuiAction) -> StepResult:
    """One turn: these actions, each with its call."""
    return await env.step(Action(assistant(None, *env.dialect.encode(actions))))


async def called(env: MiniWoB, *calls: tuple[str, str]) -> StepResult:
    """One turn: calls by their names and arguments."""
    said = [ToolCall(f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls)]
    return await env.step(Action(assistant(None, *said)))


async def solved(env: MiniWoB, turns: int = 130) -> StepResult:
    """The rest of an episode as the oracle plays it. Returns its last step."""
    for _ in range(turns):
        result = await env.step(Action(env.oracle()))
        if result.terminated:
            return result
    pytest.fail(f"the oracle of {env.stage.name} comes to no end")


def shown(result: StepResult) -> str:
    """What the policy sees after a step."""
    return result.observation.messages[-1].text
