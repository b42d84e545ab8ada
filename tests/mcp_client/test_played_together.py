"""Many episodes with MCP servers in one run: processes started beforehand, one each, and none left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import agentenv
from agentenv.env import Action
from agentenv.episode import Episode
from agentenv.errors import ConfigError, MissingDataError, VerifierError
from agentenv.mcp.client.config import CommandServer
from agentenv.mcp.client.pool import Pool
from agentenv.mcp.env import MCPTasks
from agentenv.messages import ToolCall, assistant
from agentenv.outcome import Status
from agentenv.policy.scripted import ScriptedPolicy
from agentenv.registry import EnvSpec
from agentenv.rollout import RolloutEngine, group_requests
from agentenv.tasks import Task
from tests.mcp_client.conftest import BASKET, RUDE, SHOP, TASK, call, said

BUY = [
    assistant(None, ToolCall("1", "put", '{"item": "lamp"}'), ToolCall("2", "put", '{"item": "mug"}')),
    assistant("done"),
]


async def played(servers: Any, script: Sequence[Any], tasks: Sequence[Task], **options: Any) -> list[Episode]:
    spec = EnvSpec(
        id="test/mcp-v0", entry_point="agentenv.mcp.env:MCPTasks", kwargs={"servers": servers, **options}, max_turns=5
    )
    async with RolloutEngine(ScriptedPolicy(script)) as engine:
        return await engine.collect(group_requests(spec, tasks))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_every_episode_has_a_process_of_its_own_and_each_is_scored_by_the_servers_tool() -> None:
    tasks = [Task.ask(f"visit-{number}", "Buy a lamp and a mug.") for number in range(6)]
    episodes = await played(SHOP | {"handle": BASKET}, BUY, tasks, score_tool="score")
    assert [(episode.status, episode.reward) for episode in episodes] == [(Status.OK, 1.0)] * 6


async def test_a_server_that_dies_fails_its_episode_and_no_reward_is_made_up() -> None:
    (episode,) = await played(RUDE, [assistant(None, ToolCall("1", "die", "{}")), assistant("done")], [TASK])
    assert (episode.status, episode.reward) == (Status.ENV_ERROR, None)
    assert episode.failure is not None
    assert "the disk is on fire" in episode.failure.message


async def test_processes_wait_started_and_leaving_the_pool_leaves_none() -> None:
    server = CommandServer.model_validate(SHOP | {"warm": 2})
    async with Pool(server) as pool:
        first = await pool.take()
        await until(lambda: pool.waiting == 2)
        waiting = list(pool._ready)
        second = await pool.take()
        assert second is waiting[0], "the one that has waited longest"
        assert first is not second
        assert (await second.call("price", {"item": "mug"})).structured_content == {"result": 8}
        await pool.give_back(second)
        assert not second.usable
    assert not first.usable
    assert not any(connection.usable for connection in waiting)


async def test_one_that_died_while_it_waited_is_not_given_out() -> None:
    server = CommandServer.model_validate(RUDE | {"warm": 1})
    async with Pool(server) as pool:
        await pool.take()
        await until(lambda: pool.waiting == 1)
        waiting = pool._ready[0]
        with pytest.raises(agentenv.AgentenvError):
            await waiting.call("die", {})
        assert await pool.take() is not waiting


@pytest.mark.parametrize(("said", "reward"), [("3", 1.0), (" 3 \n", 1.0), ("4", 0.0)])
async def test_tasks_of_a_file_are_judged_by_their_answers(
    shop: ModuleType, tmp_path: Path, said: str, reward: float
) -> None:
    file = tmp_path / "tasks.jsonl"
    rows = [{"prompt": "How many?", "answer": 3}, {"prompt": "Where?", "answer": "here", "split": "test"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    env = MCPTasks({"server": shop.server}, tasks=str(file))
    assert [len(list(env.tasks(split))) for split in ("train", "test", "dev")] == [1, 1, 0]
    await env.reset(task=next(iter(env.tasks("train"))), seed=0)
    result = await env.step(Action(assistant(said)))
    assert (result.terminated, result.reward) == (True, reward)
    await env.close()


async def test_the_tool_that_scores_is_not_the_models(shop: ModuleType) -> None:
    env = MCPTasks({"server": shop.server}, score_tool="score")
    opening, _ = await env.reset(task=TASK, seed=0)
    assert "score" not in {spec.name for spec in opening.tools}
    assert "there is no tool 'score'" in await said(env, "score")
    await call(env, "put", item="lamp")
    assert (await env.step(Action(assistant("done")))).reward == 0.0
    await env.close()


async def test_a_tool_that_scores_with_no_number_is_no_zero(shop: ModuleType) -> None:
    env = MCPTasks({"server": shop.server}, score_tool="open_basket")
    await env.reset(task=TASK, seed=0)
    with pytest.raises(VerifierError, match="gives no number"):
        await env.step(Action(assistant("done")))
    await env.close()


def test_tasks_that_are_not_there_or_are_none_are_named(tmp_path: Path) -> None:
    server = {"command": [sys.executable]}
    with pytest.raises(MissingDataError, match=r'tasks="tasks\.jsonl"'):
        MCPTasks(server).tasks()
    with pytest.raises(MissingDataError, match="no file"):
        MCPTasks(server, tasks=str(tmp_path / "none")).tasks()
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n{"question": "y"}\n')
    with pytest.raises(ConfigError, match=r"bad\.jsonl:2 is no task"):
        MCPTasks(server, tasks=str(tmp_path / "bad.jsonl")).tasks()


def test_it_is_registered_and_says_what_it_needs() -> None:
    assert agentenv.spec("mcp-v0").entry_point == "agentenv.mcp.env:MCPTasks"
    with pytest.raises(ConfigError, match="at least one"):
        agentenv.make("mcp-v0")
