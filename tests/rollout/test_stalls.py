"""Somebody blocks the event loop: whatever else has a deadline is given the time back, the one who blocked is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import pytest
from aiohttp import web

from agentenv import Action, Info, Message, Observation, StepResult, Task, tool
from agentenv.chat import ChatEnv
from agentenv.episode import Episode
from agentenv.messages import ToolCall, assistant
from agentenv.outcome import Status
from agentenv.policy.contract import Completion
from agentenv.rollout import RolloutConfig, RolloutEngine, Stall
from agentenv.rollout.lag import LoopMonitor
from agentenv_openai import OpenAIPolicy, Retry
from tests.policy.openai_support import completion_body, endpoint
from tests.rollout.actors import Scripted, Turns, flatten, make_from, requests, spec

BLOCKED = 1.0
"""Seconds somebody blocks the loop; more than any deadline here."""


class Blocking(Turns):
    """Blocks the loop in its step, once a neighbour waits for something."""

    waiting: ClassVar[asyncio.Event]

    async def step(self, action: Action) -> StepResult:
        await self.waiting.wait()
        time.sleep(BLOCKED)  # noqa: ASYNC251 - the fault under test
        return await super().step(action)


class TwoTurns(Turns):
    """Asks the policy twice."""

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        answer = await super().reset(task=task, seed=seed)
        self.left = 2
        return answer


class Lookup(ChatEnv):
    """Has a tool that takes a tenth of the time it may take, and one that blocks for longer than it may."""

    waiting: ClassVar[asyncio.Event]

    @tool(timeout=0.5)
    async def look_up(self) -> str:
        """Waits for something, as a tool that reads a web page does."""
        self.waiting.set()
        await asyncio.sleep(0.05)
        return "found"

    @tool(timeout=0.5)
    async def block(self) -> str:
        """Blocks, then waits."""
        time.sleep(BLOCKED)  # noqa: ASYNC251 - the fault under test
        await asyncio.sleep(30)
        return "found"


class Calling(Scripted):
    """Calls one tool, then says done."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    async def complete(self, messages: Sequence[Message], *_: object) -> Completion:
        call = ToolCall("1", self._name, "{}")
        return Completion(assistant("done") if messages[-1].role == "tool" else assistant(None, call))


@pytest.fixture(autouse=True)
def waiting() -> asyncio.Event:
    Blocking.waiting = Lookup.waiting = asyncio.Event()
    return Blocking.waiting


async def play(policy: Scripted | OpenAIPolicy, **environments: type[Turns] | type[ChatEnv]) -> dict[str, Episode]:
    """One episode of each environment, side by side; by name."""
    wanted = flatten([requests(spec(name), 1) for name in environments])
    config = RolloutConfig(stall_threshold=0.1)
    async with RolloutEngine(policy, config, make_env=make_from(**environments)) as engine:
        return {episode.key.environment.removesuffix("-v0"): episode for episode in await engine.collect(wanted)}


def tool_errors(episode: Episode) -> list[str | None]:
    return [call["error"] for turn in episode.turns for call in turn.info.get("tools", [])]


async def test_a_tool_is_not_charged_for_the_time_its_neighbour_blocked_the_loop() -> None:
    episodes = await play(Calling("look_up"), lookup=Lookup, blocking=Blocking)
    assert tool_errors(episodes["lookup"]) == [None]


async def test_a_model_call_is_not_charged_for_the_time_an_environment_blocked_the_loop(waiting: asyncio.Event) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if len((await request.json())["messages"]) > 1:
            waiting.set()
            await asyncio.sleep(0.05)
        return web.json_response(completion_body())

    async with endpoint(answer) as url, OpenAIPolicy(url, timeout=0.5, retry=Retry(1, budget=0.5)) as policy:
        episodes = await play(policy, two_turns=TwoTurns, blocking=Blocking)
    assert [episode.status for episode in episodes.values()] == [Status.OK, Status.OK]


async def test_a_tool_that_blocks_the_loop_itself_is_charged_for_it() -> None:
    episodes = await play(Calling("block"), lookup=Lookup)
    assert tool_errors(episodes["lookup"]) == ["timeout"]


async def test_a_stall_is_blamed_on_the_part_of_an_episode_that_blocked_and_not_on_the_one_that_came_next() -> None:
    class BlocksInReset(Turns):
        async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
            time.sleep(BLOCKED)  # noqa: ASYNC251 - the fault under test
            return await super().reset(task=task, seed=seed)

    config = RolloutConfig(stall_threshold=0.1)
    async with RolloutEngine(Scripted(), config, make_env=lambda _: BlocksInReset()) as engine:
        await engine.collect(requests(spec("blocks"), 1))
    assert max(engine.stats.stalls, key=lambda stall: stall.seconds).where == "blocks-v0.reset"


async def test_the_clock_of_an_engine_that_has_closed_sees_no_more_stalls() -> None:
    stalls: list[Stall] = []
    with LoopMonitor(0.05) as monitor:
        monitor.on_stall = stalls.append
    time.sleep(0.2)  # noqa: ASYNC251 - the fault under test
    monitor.now()
    assert (stalls, monitor.stalled) == ([], 0.0)
