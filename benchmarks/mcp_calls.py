"""A call of an MCP server's tool as a step of an environment, next to the same call by the SDK's own client.

They take turns, call by call, on one server: in this process, and over HTTP in another. A step is the whole of it: the
message is parsed, its arguments checked, the call made, counted and observed. An episode has twenty of them. Besides,
five hundred episodes at once, each with a world of its own in one server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from mcp import Client

from agentenv.env import Action
from agentenv.mcp.env import MCPEnv
from agentenv.messages import ToolCall, assistant
from agentenv.rollout.collector import rare_collections
from agentenv.tasks import Task
from benchmarks.mcp_server import numbers, server
from benchmarks.result import ROOT, Result, Table, milliseconds

CALLS = {"in memory": 600, "over HTTP": 200}
EPISODE = 20
EPISODES = 500
TARGETS = {"in memory": 2.0, "over HTTP": 1.3}
TASK = Task.ask("count", "Count.")
_START_SECONDS = 60.0


def run(rounds: int = 5) -> Result:
    logging.disable(logging.INFO)  # the SDK's server has every request told, which costs more than the request
    with _over_http() as url:
        found = {
            way: [asyncio.run(_in_turns(target, CALLS[way])) for _ in range(rounds)]
            for way, target in (("in memory", server), ("over HTTP", url))
        }
    together = [asyncio.run(_together()) for _ in range(rounds)]
    ratios = {way: statistics.median(ours / bare for bare, ours in pairs) for way, pairs in found.items()}
    rate = statistics.median(together)
    met = all(ratios[way] <= target for way, target in TARGETS.items())
    verdict = (
        "A tool call takes "
        + " and ".join(
            f"{ratios[way]:.2f} times the SDK's own {way} (target: at most {TARGETS[way]:g})" for way in TARGETS
        )
        + f": {'met' if met else 'missed'}. {EPISODES} episodes at once, each with a world of its own on one server, "
        f"make {rate:,.0f} calls a second, and no world is touched by another."
    )
    rows = [
        [
            way,
            f"{milliseconds(statistics.median(bare for bare, _ in pairs))} ms",
            f"{milliseconds(statistics.median(ours for _, ours in pairs))} ms",
            f"{ratios[way]:.2f}",
        ]
        for way, pairs in found.items()
    ]
    table = Table(["a call of a tool", "the SDK's client", "a step of an environment", "ratio"], rows)
    return Result("mcp_calls", verdict, table, {"pairs": found, "calls_a_second": together})


async def _in_turns(target: Any, calls: int) -> tuple[float, float]:
    """Median seconds of a call by the SDK's client, and of a step."""
    bare: list[float] = []
    ours: list[float] = []
    env = MCPEnv({"url": target} if isinstance(target, str) else {"server": target})
    async with Client(target) as client:
        for number in range(calls):
            if number % EPISODE == 0:
                await env.reset(task=TASK, seed=0)
            began = time.perf_counter()
            await client.call_tool("add", {"amount": 1})
            bare.append(time.perf_counter() - began)
            action = Action(assistant(None, ToolCall("c", "add", '{"amount": 1}')))
            began = time.perf_counter()
            await env.step(action)
            ours.append(time.perf_counter() - began)
    await env.close()
    return statistics.median(bare), statistics.median(ours)


async def _together() -> float:
    """Calls a second of many episodes; each has to find its own number in the end."""
    numbers.clear()

    async def play(number: int) -> None:
        env = MCPEnv({"server": server, "handle": {"argument": "world"}})
        await env.reset(task=TASK, seed=number)
        for _ in range(EPISODE):
            call = ToolCall("c", "add", json.dumps({"amount": number}))
            result = await env.step(Action(assistant(None, call)))
        assert result.observation.messages[0].text == str(EPISODE * number), "somebody else was here"
        await env.close()

    began = time.perf_counter()
    with rare_collections():  # as the engine has it
        async with asyncio.TaskGroup() as group:
            for number in range(EPISODES):
                group.create_task(play(number))
    return EPISODES * EPISODE / (time.perf_counter() - began)


@contextlib.contextmanager
def _over_http() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.mcp_server", str(port)], cwd=ROOT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the MCP server does not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
