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
from typing import Any

import aiohttp
import openai

from agentenv.env import Env
from agentenv.episode import Episode
from agentenv.registry import EnvSpec
from agentenv.rollout import codec
from agentenv.tasks import Task
from agentenv.trajectory import RowSet, build_rows

AGENTS = ("plain_openai", "openai_agents", "langgraph_agent", "pydantic_ai_agent")
"""The modules beside this one; each has `solve(question, base_url)` and `GAVE_UP`."""

ATTEMPT_SECONDS = 120.0
_QUIET = {"OPENAI_AGENTS_DISABLE_TRACING": "1", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""Frameworks upload traces when asked by the environment; an attempt at a task is nobody else's business."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One of the examples.

    Attributes:
        solve: from a question and a base URL to an answer.
        gave_up: the exceptions with which the framework says that the model led nowhere. They are the model's doing
            and score what the attempt is worth; any other exception leaves the attempt unscored.
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
    """What an agent's attempts left behind.

    Attributes:
        continuations: model calls by how their prompt followed from earlier ones; see `gateway.calls.Continuation`.
        protocols: model calls by the API they came by.
    """

    agent: str
    episodes: Sequence[Episode]
    continuations: Mapping[str, int]
    protocols: Mapping[str, int]

    @property
    def rows(self) -> RowSet:
        return build_rows(self.episodes)

    @property
    def calls(self) -> int:
        return sum(self.protocols.values())

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
        gateway: its URL, without `/v1`.
        spec: the environment of the tasks; it scores the attempts.
    """
    slots = asyncio.Semaphore(in_flight)
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    async with aiohttp.ClientSession(gateway, timeout=timeout, raise_for_status=True) as http:

        async def attempt(task: Task) -> dict[str, Any]:
            async with slots:
                return await _attempt(agent, http, spec, task)

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(attempt(task)) for task in tasks for _ in range(siblings)]
    found = [each.result() for each in running]
    calls = [call for trajectory in found for call in trajectory["calls"]]
    return Attempts(
        agent.name,
        [codec.episode_from_wire(trajectory["episode"]) for trajectory in found],
        Counter(call["continuation"] for call in calls),
        Counter(call["protocol"] for call in calls),
    )


async def _attempt(agent: Agent, http: aiohttp.ClientSession, spec: EnvSpec, task: Task) -> dict[str, Any]:
    opening = {"task": codec.task_to_wire(task), "environment": spec.id, "group": f"{agent.name}/{task.id}"}
    session = await _post(http, "/sessions", opening)
    ending: dict[str, Any] = {}
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            await agent.solve(task.prompt[-1].text, session["base_url"])
    except agent.gave_up as error:
        ending = {"stop_reason": "environment_truncated", "problem": f"{type(error).__name__}: {error}"}
    except TimeoutError:
        ending = {"status": "timeout", "problem": f"the agent took more than {ATTEMPT_SECONDS:g} s"}
    except openai.APIError as error:
        ending = {"status": "model_error", "problem": f"{type(error).__name__}: {error}"}
    where = f"/sessions/{session['id']}"
    if "status" not in ending:
        so_far = await _get(http, f"{where}/trajectory")
        ending["reward"] = await score(spec, task, codec.episode_from_wire(so_far["episode"]))
    await _post(http, f"{where}/finish", ending)
    return await _get(http, f"{where}/trajectory")


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


async def _post(http: aiohttp.ClientSession, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    async with http.post(path, json=body) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def _get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as answer:
        found: dict[str, Any] = await answer.json()
        return found
