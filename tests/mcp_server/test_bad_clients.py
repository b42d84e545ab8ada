"""Whatever a client does wrong is told to it, and is nobody else's loss."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import mcp_types as types
import pydantic
import pytest
from mcp import Client

import agentenv
from agentenv.cli import run
from agentenv.errors import ConfigError
from agentenv.mcp.server import (
    EnvironmentTools,
    Episodes,
    EpisodesConfig,
    FunctionTools,
    HTTPConfig,
    over_http,
    server_of,
    tools_of_file,
)
from agentenv.registry import EnvSpec
from tests.mcp_server.conftest import COMMAND, Served, solved, text_of

FRAGILE = """
from agentenv import ChatEnv, ListTasks, SandboxError, Task, reward, tool

class Fragile(ChatEnv):
    def tasks(self, split="train"):
        return ListTasks([Task.ask("one", "Break it.")])

    @tool(inline=True)
    def answer(self, episode: str) -> str:
        "A tool with the name of one of the server's, and an argument too."
        return "x" * int(episode)

    @tool(inline=True)
    def crash(self) -> str:
        raise SandboxError("the sandbox has burnt down")

    @reward
    def nothing(self):
        return None
"""


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("calculator", {"expression": "1+1"}, "a call needs 'episode'"),
        ("calculator", {"expression": "1+1", "episode": "forged"}, "there is no such episode"),
        ("calculator", {"expression": "1+1", "episode": 5}, "a call needs 'episode'"),
        ("calculator", {"episode": True}, "a call needs 'episode'"),
        ("nothing", {"episode": "HANDLE"}, "there is no tool 'nothing'"),
        ("calculator", {"episode": "HANDLE"}, "expression: Field required"),
        ("calculator", {"episode": "HANDLE", "expression": 5}, "invalid arguments"),
        ("calculator", {"episode": "HANDLE", "expression": "1+1", "more": 1}, "more: Extra inputs"),
        ("answer", {"episode": "HANDLE"}, "answer takes one text"),
        ("answer", {"episode": "HANDLE", "text": 5}, "answer takes one text"),
        ("start_episode", {"level": 1}, "there is no argument 'level'"),
        ("start_episode", {"seed": "x"}, "seed must be a number"),
        ("start_episode", {"split": "all"}, "all"),
    ],
)
async def test_a_call_that_makes_no_sense_is_an_error_and_the_episode_goes_on(
    served: Served, name: str, arguments: dict[str, Any], says: str
) -> None:
    async with Client(served.url) as client:
        begun = await client.call_tool("start_episode", {"seed": 1})
        handle = begun.structured_content["episode"]
        given = {key: handle if value == "HANDLE" else value for key, value in arguments.items()}
        refused = await client.call_tool(name, given)
        assert refused.is_error
        assert says in text_of(refused)
        assert text_of(await client.call_tool("calculator", {"episode": handle, "expression": "2+2"})) == "4"


async def test_an_episode_that_is_over_takes_no_more_turns(served: Served) -> None:
    async with Client(served.url) as client:
        begun = (await client.call_tool("start_episode", {"seed": 1})).structured_content
        await client.call_tool("answer", {"episode": begun["episode"], "text": "1"})
        again = await client.call_tool("answer", {"episode": begun["episode"], "text": "1"})
        assert again.is_error
        assert "this episode is over" in text_of(again)
        assert (await client.call_tool("score", {"episode": begun["episode"]})).structured_content["reward"] == 0.0
        await client.call_tool("end_episode", {"episode": begun["episode"]})
        assert "no such episode" in text_of(await client.call_tool("score", {"episode": begun["episode"]}))


async def test_there_is_room_for_so_many_and_those_that_nobody_plays_are_closed() -> None:
    episodes = Episodes(agentenv.spec("calculator-v0"), EpisodesConfig(most=2, lease=0.5))
    async with episodes:
        offered = EnvironmentTools(episodes)
        await offered.open()
        first = await offered.call("start_episode", {})
        await offered.call("start_episode", {})
        full = await offered.call("start_episode", {})
        assert full.is_error
        assert "2 episodes are open" in text_of(full)
        assert "score" not in {tool.name for tool in offered.listed()}
        async with asyncio.timeout(30):
            while episodes.count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        gone = await offered.call("answer", {"episode": first.structured_content["episode"], "text": "1"})
        assert "no such episode" in text_of(gone)
        assert not (await offered.call("start_episode", {})).is_error


async def test_one_episode_that_fails_is_not_scored_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    episodes = Episodes(EnvSpec(id="fragile-v0", entry_point=f"{tmp_path / 'fragile.py'}:Fragile"))
    async with episodes:
        offered = EnvironmentTools(episodes, score=True)
        await offered.open()
        names = {tool.name: tool for tool in offered.listed()}
        assert set(names) == {"start_episode", "answer", "score", "end_episode", "tool_answer", "crash"}
        assert set(names["tool_answer"].input_schema["properties"]) == {"episode", "episode_handle"}
        one, other = [(await offered.call("start_episode", {})).structured_content["episode"] for _ in range(2)]
        failed = await offered.call("crash", {"episode": one})
        assert failed.is_error
        assert "sandbox_error" in text_of(failed)
        assert "burnt down" in text_of(failed)
        assert "no such episode" in text_of(await offered.call("score", {"episode": one}))
        huge = await offered.call("tool_answer", {"episode_handle": other, "episode": "1000000"})
        assert len(text_of(huge)) == 1_000_000
        await offered.call("answer", {"episode": other, "text": "done"})
        scored = await offered.call("score", {"episode": other})
        assert scored.structured_content["reward"] is None
        assert "not scored" in text_of(scored)


async def test_a_client_that_vanishes_is_nobodys_loss(served: Served) -> None:
    gone = asyncio.create_task(_begin_and_wait(served.url))
    async with asyncio.timeout(30):
        while not served.episodes.count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.wait([gone])
    async with Client(served.url) as client:
        assert (await solved(client, seed=1))["reward"] == 1.0


async def _begin_and_wait(url: str) -> None:
    async with Client(url) as client:
        await client.call_tool("start_episode", {})
        await asyncio.sleep(3600)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"jsonrpc": "2.0"}', b"\xff\xfe", b"null"])
async def test_what_is_no_message_is_refused_and_the_server_lives_on(served: Served, body: bytes) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with aiohttp.ClientSession() as http, http.post(served.url, data=body, headers=headers) as answer:
        assert 400 <= answer.status < 500
    async with Client(served.url) as client:
        assert len((await client.list_tools()).tools) == 5


async def test_a_web_page_of_somebody_elses_is_turned_away(served: Served) -> None:
    for headers in ({"origin": "http://example.com"}, {"host": "example.com"}):
        async with aiohttp.ClientSession() as http, http.post(served.url, json={}, headers=headers) as answer:
            assert answer.status in (403, 421)


async def test_a_key_is_asked_for_and_nobody_beyond_this_machine_comes_in_without_one() -> None:
    with pytest.raises(pydantic.ValidationError, match="takes an API key"):
        HTTPConfig(host="0.0.0.0")
    made = server_of("tools", FunctionTools(agentenv.ToolSet([])))
    async with over_http(made, HTTPConfig(port=0, api_key="key")) as url, aiohttp.ClientSession() as http:
        for headers, status in (
            ({}, 401),
            ({"authorization": "Bearer wrong"}, 401),
            ({"authorization": "Bearer key"}, 4),
        ):
            async with http.post(url, json={}, headers=headers) as answer:
                assert str(answer.status).startswith(str(status))
                assert (answer.status == 401) == (status == 401)


async def test_plain_functions_are_checked_and_shown_as_in_an_environment(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from agentenv import Part, tool\n"
        "@tool\ndef half(of: int) -> float:\n    'Halves a number.'\n    return of / 2\n"
        "@tool\nasync def fails() -> str:\n    raise ValueError('no')\n"
        "def not_a_tool(): ...\n"
    )
    offered = FunctionTools(tools_of_file([str(tmp_path / "mine.py")]))
    async with Client(server_of("mine", offered)) as client:
        assert [(tool.name, tool.description) for tool in (await client.list_tools()).tools] == [
            ("half", "Halves a number."),
            ("fails", ""),
        ]
        assert text_of(await client.call_tool("half", {"of": 5})) == "2.5"
        assert text_of(await client.call_tool("fails", {})) == "Error: ValueError: no"
        assert "of: Input should be" in text_of(await client.call_tool("half", {"of": "many"}))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.py", "there is no file"),
        ("no.such.module", "cannot be imported"),
        ("json", "no function marked"),
        ("agentenv.tools:nothing", "no function marked"),
    ],
)
def test_functions_that_are_not_there_are_named(source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tools_of_file([source])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["calculatr-v0"], "calculator-v0"),
        (["tools"], "takes files or modules"),
        (["tools", "nowhere.py"], "there is no file"),
        (["calculator-v0", "more"], "one environment is served at a time"),
        (["calculator-v0", "--host", "0.0.0.0"], "takes an API key"),
        (["calculator-v0", "--enb.level", "2"], "no setting here"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", "serve", *arguments]) != 0
    printed = capsys.readouterr()
    assert says in " ".join(printed.err.split())
    assert "Traceback" not in printed.err
    assert not printed.out


async def test_ctrl_c_ends_the_command_and_only_the_protocol_is_on_standard_output() -> None:
    import signal

    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO}
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    async with asyncio.timeout(60):
        answer = types.jsonrpc_message_adapter.validate_json(await process.stdout.readline(), by_name=False)
        assert isinstance(answer, types.JSONRPCResponse)
        assert answer.id == 1
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert await process.stdout.read() == b""


_HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
