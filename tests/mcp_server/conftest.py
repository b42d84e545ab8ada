"""The calculator, served: in this process over HTTP, and by the command as its users start it."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest_asyncio
from mcp import Client, StdioServerParameters

import agentenv
from agentenv.mcp.server import EnvironmentTools, Episodes, EpisodesConfig, HTTPConfig, over_http, server_of

PROGRAM = str(Path(sys.executable).parent / "agentenv")
COMMAND = [PROGRAM, "mcp", "serve", "calculator-v0", "--env.level", "2", "--score"]
SIGNS = {"times": "*", "plus": "+", "minus": "-"}


class Served:
    """A server in this process. `url` is where it is, `episodes` what is open."""

    def __init__(self, url: str, episodes: Episodes) -> None:
        self.url, self.episodes = url, episodes


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    episodes = Episodes(agentenv.spec("calculator-v0").with_kwargs(level=2), EpisodesConfig(most=60))
    async with episodes:
        offered = EnvironmentTools(episodes, score=True)
        await offered.open()
        async with over_http(server_of("calculator-v0", offered), HTTPConfig(port=0)) as url:
            yield Served(url, episodes)


def stdio() -> StdioServerParameters:
    return StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])


def text_of(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


async def solved(client: Client, *, seed: int, implicit: bool = False) -> dict[str, Any]:
    """Plays one episode as the oracle would, from what the server says alone; what `score` returns."""
    begun = (await client.call_tool("start_episode", {"seed": seed})).structured_content
    handle = {} if implicit else {"episode": begun["episode"]}
    question = begun["messages"][-1]["content"]
    value, *operands = re.findall(r"\d+", question)
    operators = re.findall("times|plus|minus", question)
    assert len(operators) == len(operands) == 2
    for operator, operand in zip(operators, operands, strict=True):
        expression = f"{value}{SIGNS[operator]}{operand}"
        value = text_of(await client.call_tool("calculator", {**handle, "expression": expression}))
    ending = text_of(await client.call_tool("answer", {**handle, "text": value}))
    assert "The episode is over" in ending
    scored: dict[str, Any] = (await client.call_tool("score", handle)).structured_content
    return scored
