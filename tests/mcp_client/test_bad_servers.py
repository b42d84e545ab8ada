"""Whatever a server does wrong is an observation, or the failure of that one episode."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agentenv.errors import ToolFailure
from agentenv.mcp.env import MCPEnv
from tests.mcp_client.conftest import RUDE, TASK, call, error_of, said


@pytest_asyncio.fixture
async def env() -> AsyncIterator[MCPEnv]:
    made = MCPEnv(RUDE | {"call_seconds": 3.0})
    await made.reset(task=TASK, seed=0)
    yield made
    await made.close()


async def test_one_that_dies_in_the_middle_of_a_call_fails_the_episode_and_says_why(env: MCPEnv) -> None:
    with pytest.raises(ToolFailure, match=r"server was lost \(.*exit code 3.*the disk is on fire"):
        await call(env, "die")
    with pytest.raises(ToolFailure):
        await call(env, "ok")
    await env.reset(task=TASK, seed=0)
    assert await said(env, "ok") == "fine", "the next episode has a process of its own"


async def test_one_that_hangs_is_waited_for_no_longer_than_was_said(env: MCPEnv) -> None:
    result = await call(env, "hang")
    assert error_of(result) == "timeout"
    assert "gave no answer in 3 s" in result.observation.messages[0].text


async def test_one_that_floods_is_stopped_by_its_sandbox() -> None:
    env = MCPEnv(RUDE | {"output_bytes": 2**24})
    await env.reset(task=TASK, seed=0)
    with pytest.raises(ToolFailure, match="output"):
        await call(env, "flood")
    await env.close()


async def test_lines_that_are_no_messages_are_passed_over_and_the_call_runs_out_of_time(env: MCPEnv) -> None:
    assert error_of(await call(env, "garbage")) == "timeout"
    assert await said(env, "ok") == "fine"


async def test_fifty_megabytes_are_cut_to_what_may_be_shown() -> None:
    env = MCPEnv(RUDE | {"longest_result": 1000})
    await env.reset(task=TASK, seed=0)
    text = await said(env, "huge")
    assert text.startswith("x" * 1000 + "… (49999000 characters more")
    assert len(text) < 1100
    await env.close()


async def test_a_list_that_changes_between_calls_is_followed(env: MCPEnv) -> None:
    changed = await call(env, "change")
    later = await call(env, "other")
    names = {spec.name for result in (changed, later) for spec in result.observation.tools}
    assert "other" in names
    assert await said(env, "other") == "fine"
    gone = await call(env, "ok")
    assert error_of(gone) == "unknown_tool"


async def test_odd_tools_are_offered_as_far_as_they_can_be(env: MCPEnv) -> None:
    offered = {spec.name: spec for spec in env.tools.specs}
    assert offered["twice"].description == "the first"
    (odd,) = (name for name in offered if name.startswith("odd"))
    assert (len(odd), odd[:24]) == (64, "odd_n_me_with_spacesxxxx")
    assert await said(env, odd) == "fine"
    for name in ("badly_described", "unsupported", "remote"):
        assert await said(env, name, a="text") == "fine"
    assert error_of(await call(env, "unsupported", a=5)) == "invalid_arguments"


async def test_a_result_that_is_not_as_promised_is_an_error_for_the_model(env: MCPEnv) -> None:
    result = await call(env, "lies")
    assert error_of(result) == "raised"
    assert "answers what is not allowed" in result.observation.messages[0].text


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/nowhere/server"], r"cannot be used.*(not found|127)"),
        ([sys.executable, "-c", "import sys; sys.exit('no licence')"], "no licence"),
        ([sys.executable, "-c", "print('hello')"], "exit code 0"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "has not answered for 2 s"),
        ([sys.executable, "-c", "x = bytearray(2**31); x[::4096] = b'1' * len(x[::4096])"], r"oom|memory|Memory"),
    ],
)
async def test_one_that_does_not_start_says_why(command: list[str], says: str) -> None:
    env = MCPEnv({"command": command, "start_seconds": 2.0 if "sleep" in command[-1] else 30.0, "memory_bytes": 2**28})
    with pytest.raises(ToolFailure, match=says):
        await env.reset(task=TASK, seed=0)
    await env.close()


async def test_a_server_is_walled_off(env: MCPEnv) -> None:
    script = "import socket, sys; socket.create_connection(('127.0.0.1', 80), 1)"
    made = MCPEnv({"command": [sys.executable, "-c", script]})
    with pytest.raises(ToolFailure, match=r"refused|unreachable"):
        await made.reset(task=TASK, seed=0)
    await made.close()


async def test_one_episodes_server_that_dies_is_nobody_elses_loss() -> None:
    async def play(number: int) -> Any:
        env = MCPEnv(RUDE)
        try:
            await env.reset(task=TASK, seed=number)
            await call(env, "die" if number == 1 else "ok")
            return await said(env, "ok")
        except ToolFailure:
            return None
        finally:
            await env.close()

    assert await asyncio.gather(*(play(number) for number in range(3))) == ["fine", None, "fine"]
