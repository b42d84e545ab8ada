"""What is listed and shown: names, handles, pictures, tools that come later, and nothing else on standard output."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError, StdioServerParameters

import agentenv
from agentenv.mcp.server import (
    EnvironmentTools,
    Episodes,
    EpisodesConfig,
    FunctionTools,
    HTTPConfig,
    over_http,
    server_of,
)
from tests.mcp_conformance.tools import PIXEL
from tests.mcp_server.conftest import PROGRAM, Served, text_of
from tests.mcp_server.worlds import Changing, spec_of

OURS = ["start_episode", "answer", "score", "end_episode"]
NOISY = """
import os, sys
from agentenv import tool

print("imported")

@tool(inline=True)
def shout() -> str:
    print("called")
    os.write(1, b"from below")
    return "quiet"
"""


@given(
    st.lists(st.sampled_from(["tool_" * depth + name for name in [*OURS, "other"] for depth in range(4)]), unique=True)
)
def test_no_two_tools_get_one_name_and_none_gets_one_of_ours(names: list[str]) -> None:
    tools = EnvironmentTools(Episodes(agentenv.spec("calculator-v0")))
    shown = [tools._name_of(name) for name in names]
    assert len(set(shown)) == len(names)
    assert not set(shown) & set(OURS)
    assert [name for name in names if name.endswith("other")] == [name for name in shown if name.endswith("other")]


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
async def test_tools_that_come_later_are_listed_and_clients_are_told(era: str) -> None:
    told: list[str] = []

    async def hear(message: Any) -> None:
        told.append(type(message).__name__)

    async with Episodes(spec_of(Changing), EpisodesConfig()) as episodes:
        tools = EnvironmentTools(episodes, score=True)
        await tools.open()
        async with Client(server_of("changing", tools), mode=era, message_handler=hear) as client:
            before = {tool.name for tool in (await client.list_tools()).tools}
            assert before == {*OURS, "open_door", "look", "crash", "tool_answer", "tool_tool_answer"}
            handle = {"episode": (await client.call_tool("start_episode", {})).structured_content["episode"]}
            assert text_of(await client.call_tool("tool_answer", handle)) == "the environment's own"
            assert text_of(await client.call_tool("tool_tool_answer", handle)) == "the environment's other"
            assert text_of(await client.call_tool("open_door", handle)) == "A treasure!"
            after = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(after) - before == {"treasure"}
            assert after["treasure"].input_schema["required"] == ["episode_handle"]
            assert after["look"].input_schema["required"] == ["episode"]
            taken = await client.call_tool("treasure", {"episode_handle": handle["episode"], "episode": 3})
            assert text_of(taken) == "gold 3"
        assert era == "2026-07-28" or "ToolListChangedNotification" in told


async def test_a_client_that_listens_hears_of_a_tool_that_another_has_found() -> None:
    async with Episodes(spec_of(Changing)) as episodes:
        tools = EnvironmentTools(episodes)
        await tools.open()
        async with (
            over_http(server_of("changing", tools), HTTPConfig(port=0)) as url,
            Client(url) as listener,
            Client(url) as player,
            listener.listen(tools_list_changed=True) as heard,
        ):
            begun = await player.call_tool("start_episode", {})
            await player.call_tool("open_door", {"episode": begun.structured_content["episode"]})
            async with asyncio.timeout(30):
                assert type(await anext(aiter(heard))).__name__ == "ToolsListChanged"
            assert "treasure" in {tool.name for tool in (await listener.list_tools()).tools}


async def test_pictures_are_shown_as_such() -> None:
    async with Episodes(spec_of(Changing)) as episodes:
        tools = EnvironmentTools(episodes)
        await tools.open()
        async with Client(server_of("changing", tools)) as client:
            begun = await client.call_tool("start_episode", {})
            shown = await client.call_tool("look", {"episode": begun.structured_content["episode"]})
            (picture,) = shown.content
            assert isinstance(picture, types.ImageContent)
            assert (picture.data, picture.mime_type) == (PIXEL, "image/png")


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
async def test_a_cursor_leads_nowhere_for_there_is_one_page(served: Served, era: str) -> None:
    async with Client(served.url, mode=era) as client:
        assert (await client.list_tools()).next_cursor is None
        with pytest.raises(MCPError, match="one page"):
            await client.list_tools(cursor="more")


async def test_an_answer_may_be_long_and_one_too_long_is_refused_by_its_length(served: Served) -> None:
    async with Client(served.url) as client:
        handle = {"episode": (await client.call_tool("start_episode", {})).structured_content["episode"]}
        over = await client.call_tool("answer", {**handle, "text": "1" * 2_000_000})
        assert "The episode is over" in text_of(over)
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(served.url, data=b"1" * 5_000_000, headers=headers) as refused,
    ):
        assert refused.status == 413


async def test_on_any_address_of_this_machine_other_peoples_names_and_pages_are_turned_away() -> None:
    made = server_of("tools", FunctionTools(agentenv.ToolSet([])))
    async with over_http(made, HTTPConfig(host="127.0.0.2", port=0)) as url, aiohttp.ClientSession() as http:
        assert url.startswith("http://127.0.0.2:")
        for headers, status in (({"host": "example.com"}, 421), ({"origin": "http://example.com"}, 403)):
            async with http.post(url, json={}, headers=headers) as answer:
                assert answer.status == status
        async with Client(url) as client:
            assert (await client.list_tools()).tools == []


async def test_what_other_peoples_code_prints_does_not_reach_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    command = StdioServerParameters(command=PROGRAM, args=["mcp", "serve", "tools", str(tmp_path / "noisy.py")])
    with (tmp_path / "noise").open("w+") as noise:
        from mcp.client.stdio import stdio_client

        async with Client(stdio_client(command, errlog=noise)) as client:
            assert text_of(await client.call_tool("shout", {})) == "quiet"
        noise.seek(0)
        heard = noise.read()
    assert all(sound in heard for sound in ("imported", "called", "from below"))
