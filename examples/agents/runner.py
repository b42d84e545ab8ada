"""Lets an agent attempt tasks through a gateway, scores what it did, and counts what there is to train on.

The agent knows nothing of this: it is called with a question and a base URL. What it did is read back from the gateway
afterwards, and scored by the environment that the task comes from.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import openai

from agentenv.env import Env
from agentenv.episode import Episode
from agentenv.gateway import Continuation, GatewayClient, Protocol, Trajectory
from agentenv.outcome import Status
from agentenv.registry import EnvSpec
from agentenv.tasks import Task
from agentenv.trajectory import RowSet, build_rows

AGENTS = ("plain_openai", "openai_agents", "langgraph_agent", "pydantic_ai_agent")
"""The modules beside this one; each has `solve(question, base_url)` and `GAVE_UP`."""

ATTEMPT_SECONDS = 120.0
_QUIET = {"OPENAI_AGENTS_DISABLE_TRACING": "1", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""Frameworks upload traces when the environment asks them to; an attempt at a task is nobody else's business."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One of the examples.

    Attributes:
        solve: from a question and a base URL to an answer.
        gave_up: the exceptions with which the framework says that the model led nowhere. They are the model's doing:
            what was done until then is scored.
    """

    name: str
    solve: Callable[[str, str], Awaitable[str]]
    gave_up: tuple[type[Exception], ...]


def load_agent(name: str) -> Agent:
    """Imports an example; takes seconds, as the frameworks do."""
    os.environ.update(_QUIET)
    module = importlib.import_module(f"examples.agents.{name}")
    return Agent(name, module.solve, module.GAVE_UP)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What an agent's attempts left behind."""

    agent: str
    trajectories: Sequence[Trajectory]

    @property
    def episodes(self) -> list[Episode]:
        return [trajectory.episode for trajectory in self.trajectories]

    @property
    def rows(self) -> RowSet:
        return build_rows(self.episodes)

    @property
    def calls(self) -> int:
        return sum(len(trajectory.calls) for trajectory in self.trajectories)

    @property
    def protocols(self) -> set[Protocol]:
        """The APIs the agent spoke."""
        return {call.protocol for trajectory in self.trajectories for call in trajectory.calls}

    @property
    def continuations(self) -> Mapping[Continuation, int]:
        """Calls by how their prompt followed from earlier ones."""
        return Counter(call.continuation for trajectory in self.trajectories for call in trajectory.calls)

    @property
    def solved(self) -> float:
        """Mean reward of the scored attempts."""
        rewards = [episode.reward for episode in self.episodes if episode.reward is not None]
        return sum(rewards) / len(rewards) if rewards else 0.0


async def run_agent(
    agent: Agent, gateway: str, spec: EnvSpec, tasks: Sequence[Task], *, siblings: int = 1, in_flight: int = 8
) -> Attempts:
    """`siblings` attempts at each task, up to `in_flight` at a time.

    Args:
        gateway: its URL.
        spec: the environment of the tasks; it scores the attempts.
    """
    slots = asyncio.Semaphore(in_flight)
    async with GatewayClient(gateway) as client:

        async def attempt(task: Task) -> Trajectory:
            async with slots:
                return await _attempt(agent, client, spec, task)

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(attempt(task)) for task in tasks for _ in range(siblings)]
    return Attempts(agent.name, [each.result() for each in running])


async def _attempt(agent: Agent, client: GatewayClient, spec: EnvSpec, task: Task) -> Trajectory:
    session = await client.create(task=task, environment=spec.id, group=f"{agent.name}/{task.id}")
    status, problem = Status.OK, ""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            await agent.solve(task.prompt[-1].text, session.base_url)
    except agent.gave_up as error:
        problem = f"{type(error).__name__}: {error}"
    except openai.APIError as error:
        status, problem = Status.MODEL_ERROR, f"{type(error).__name__}: {error}"
    except TimeoutError:
        status, problem = Status.TIMEOUT, f"the agent took more than {ATTEMPT_SECONDS:g} s"
    reward = await score(spec, task, (await session.trajectory()).episode) if status.scored else None
    await session.finish(status, reward=reward, problem=problem)
    return await session.trajectory()


async def score(spec: EnvSpec, task: Task, episode: Episode) -> float:
    """What the environment pays for the actions of an episode, its own tools answering the calls in them."""
    env: Env = spec.make()
    total = 0.0
    try:
        await env.reset(task=task)
        for turn in episode.turns:
            result = await env.step(turn.action)
            total += result.reward or 0.0
            if result.terminated or result.truncated:
                break
    finally:
        await env.close()
    return total
