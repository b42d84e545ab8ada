"""Whoever speaks MCP can play an environment and be scored: over HTTP and standard streams, of either era."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mcp import Client

from agentenv.env import Action
from agentenv.mcp.env import MCPTasks
from agentenv.messages import ToolCall, assistant
from agentenv.tasks import Task
from tests.mcp_server.conftest import COMMAND, Served, solved, stdio, text_of
from tests.support.mcp_conformance import FOLDER, suite_is_there

ERAS = ["2026-07-28", "legacy"]


@pytest.mark.parametrize("era", ERAS)
async def test_the_official_client_plays_over_http(served: Served, era: str) -> None:
    async with Client(served.url, mode=era) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["start_episode", "answer", "end_episode", "score", "calculator"]
        scored = await solved(client, seed=1)
    assert (scored["reward"], scored["terminated"], scored["turns"]) == (1.0, True, 3)
    assert scored["components"] == [{"name": "correct", "value": 1.0, "weight": 1.0}]


@pytest.mark.parametrize("era", ERAS)
async def test_the_official_client_plays_over_standard_streams_without_handles(era: str) -> None:
    async with Client(stdio(), mode=era) as client:
        assert (await solved(client, seed=1, implicit=True))["reward"] == 1.0
        assert (await solved(client, seed=2, implicit=True))["reward"] == 1.0


@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_the_typescript_client_plays(served: Served, way: str) -> None:
    suite_is_there()  # it brings the client along
    place = [served.url] if way == "http" else COMMAND
    node, player = FOLDER / "node" / "bin" / "node", Path(__file__).parent / "player.mjs"
    process = await asyncio.create_subprocess_exec(
        *map(str, (node, player, FOLDER, way, *place)), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    told = json.loads(printed)
    assert (told["reward"], told["terminated"], told["refused"]) == (1.0, True, True)


async def test_our_own_environment_of_servers_plays_it(served: Served) -> None:
    handle = {"argument": "episode", "open": "start_episode", "arguments": {"seed": 1}, "close": "end_episode"}
    env = MCPTasks({"url": served.url, "handle": handle}, score_tool="score")
    opening, _ = await env.reset(task=Task.ask("any", "Use the tools."), seed=0)
    assert [spec.name for spec in opening.tools] == ["answer", "calculator"]
    assert list(opening.tools[1].parameters["properties"]) == ["expression"]
    (played,) = served.episodes._open.values()
    for _ in range(3):
        wanted = played.env.oracle()
        call = wanted.tool_calls[0] if wanted.tool_calls else ToolCall("a", "answer", json.dumps({"text": wanted.text}))
        await env.step(Action(assistant(None, call)))
    assert (await env.step(Action(assistant("done")))).reward == 1.0
    await env.close()
    assert served.episodes.count == 0


async def test_fifty_clients_at_once_each_play_their_own_episode(served: Served) -> None:
    async def play(seed: int) -> float:
        async with Client(served.url) as client:
            reward: float = (await solved(client, seed=seed))["reward"]
            return reward

    assert await asyncio.gather(*(play(seed) for seed in range(50))) == [1.0] * 50
    assert served.episodes.count == 0


async def test_the_same_seed_is_the_same_task_and_a_task_may_be_named(served: Served) -> None:
    async with Client(served.url) as client:
        first, second = [
            (await client.call_tool("start_episode", {"seed": 5, "split": "test"})).structured_content for _ in range(2)
        ]
        assert first["task"] == second["task"]
        assert first["episode"] != second["episode"]
        named = await client.call_tool("start_episode", {"task": first["task"], "split": "test"})
        assert named.structured_content["messages"] == first["messages"]
        unknown = await client.call_tool("start_episode", {"task": "nothing like it", "split": "test"})
        assert unknown.is_error
        assert "has no task 'nothing like it'" in text_of(unknown)
