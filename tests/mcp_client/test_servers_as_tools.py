"""Any MCP server becomes the tools of an environment, whichever way it is spoken to and of whichever era it is."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import mcp_types
import pytest

from agentenv.errors import ConfigError, SandboxError, ToolFailure
from agentenv.mcp.client.connection import Question
from agentenv.mcp.env import MCPEnv
from agentenv.messages import Role
from tests.mcp_client.conftest import BASKET, SHOP, TASK, call, error_of, said

WAYS = ["object", "object, legacy", "command", "command, legacy", "url", "url, legacy"]


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The shop, reached in one of the ways there are."""
    way, _, era = request.param.partition(", ")
    found: dict[str, Any] = {"protocol": era or "auto"}
    if way == "object":
        return found | {"server": request.getfixturevalue("shop").server, "shared": era != "legacy"}
    return found | (SHOP if way == "command" else {"url": request.getfixturevalue("shop_url"), "shared": not era})


class Asked(MCPEnv):
    """An environment whose user likes red, unless it is down."""

    down = False

    async def answer(self, question: Question) -> mcp_types.ElicitResult:
        if self.down:
            raise SandboxError("the user simulator is down")
        assert isinstance(question, mcp_types.ElicitRequestFormParams)
        assert question.message == "Which colour should the mug have?"
        return mcp_types.ElicitResult(action="accept", content={"colour": "red"})


async def test_its_tools_are_offered_and_called_and_its_errors_are_observations(server: dict[str, Any]) -> None:
    env = MCPEnv(server | {"handle": BASKET})
    opening, _ = await env.reset(task=TASK, seed=0)
    offered = {spec.name: spec for spec in opening.tools}
    assert {"price", "put", "picture", "paint"} <= set(offered)
    assert offered["price"].description.startswith("What an item costs.")
    assert await said(env, "price", item="lamp") == "30"
    assert json.loads(await said(env, "put", item="lamp")) == {"items": ["lamp"]}
    assert json.loads(await said(env, "put", item="mug")) == {"items": ["lamp", "mug"]}
    wrong = await call(env, "price", item="ghost")
    assert error_of(wrong) == "raised"
    assert "Error executing tool price" in wrong.observation.messages[0].text
    assert error_of(await call(env, "price", item=5)) == "invalid_arguments"
    assert error_of(await call(env, "prize", item="lamp")) == "unknown_tool"
    (picture,) = (await call(env, "picture", item="lamp")).observation.messages
    assert isinstance(picture.content, tuple)
    assert picture.content[0].wire["image_url"]["url"].startswith("data:image/png;base64,")
    await env.close()


async def test_what_it_asks_the_user_is_answered_by_the_environment(server: dict[str, Any]) -> None:
    env = Asked(server)
    await env.reset(task=TASK, seed=0)
    assert await said(env, "paint", item="mug") == "a red mug"
    await env.close()


async def test_a_user_that_fails_is_that_episodes_failure(server: dict[str, Any]) -> None:
    env = Asked(server)
    env.down = True
    await env.reset(task=TASK, seed=0)
    with pytest.raises(SandboxError, match="user simulator is down"):
        await call(env, "paint", item="mug")
    await env.close()


async def test_without_anybody_to_answer_the_user_declines(server: dict[str, Any]) -> None:
    env = MCPEnv(server)
    await env.reset(task=TASK, seed=0)
    assert error_of(await call(env, "paint", item="mug")) == "raised"
    await env.close()


async def test_its_resources_can_be_read_and_its_prompt_opens_the_conversation(server: dict[str, Any]) -> None:
    env = MCPEnv(server | {"resources": True, "tools": ["price"]}, prompt="greeting")
    opening, _ = await env.reset(task=TASK, seed=0)
    assert [spec.name for spec in opening.tools] == ["price", "list_resources", "read_resource"]
    assert [(message.role, message.text) for message in opening.messages] == [
        (Role.USER, "Welcome to the shop."),
        (Role.USER, "Buy a lamp and a mug."),
    ]
    assert json.loads(await said(env, "list_resources"))[0]["uri"] == "shop://terms"
    assert await said(env, "read_resource", uri="shop://terms") == "No returns."
    assert error_of(await call(env, "read_resource", uri="shop://nothing")) == "raised"
    await env.close()


async def test_the_handle_is_neither_seen_nor_given_by_the_model(shop: ModuleType) -> None:
    env = MCPEnv({"server": shop.server, "handle": BASKET})
    opening, _ = await env.reset(task=TASK, seed=0)
    offered = {spec.name: spec for spec in opening.tools}
    assert not {"open_basket", "close_basket"} & set(offered)
    assert list(offered["put"].parameters["properties"]) == ["item"]
    forged = await call(env, "put", item="mug", basket="somebody else's")
    assert error_of(forged) == "invalid_arguments"
    assert "there is no argument 'basket'" in forged.observation.messages[0].text
    await call(env, "put", item="lamp")
    assert list(shop.baskets.values()) == [["lamp"]]
    assert list(shop.baskets) == [env.bound[0].handle]
    await env.close()
    assert not shop.baskets, "closing the environment ends the episode on the server"


async def test_five_hundred_episodes_on_one_server_do_not_touch_each_other(shop: ModuleType) -> None:
    async def visit(number: int) -> list[str]:
        env = MCPEnv({"server": shop.server, "handle": {"argument": "basket"}})
        await env.reset(task=TASK, seed=number)
        items = [f"{number}-{turn}" for turn in range(3)]
        for item in items:
            answer = json.loads(await said(env, "put", item=item))["items"]
            await asyncio.sleep(0)
        await env.close()
        assert answer == items
        return answer

    visits = await asyncio.gather(*(visit(number) for number in range(500)))
    assert len(shop.baskets) == 500
    assert sorted(map(tuple, shop.baskets.values())) == sorted(map(tuple, visits))


async def test_a_tool_that_a_server_adds_is_offered_from_then_on(shop: ModuleType) -> None:
    env = MCPEnv({"server": shop.server})
    await env.reset(task=TASK, seed=0)
    assert error_of(await call(env, "discount")) == "unknown_tool"
    await call(env, "grow")
    for _ in range(10):
        result = await call(env, "price", item="mug")
        if "discount" in {spec.name for spec in result.observation.tools}:
            break
    assert await said(env, "discount") == "5"
    await env.close()


async def test_tools_of_two_servers_with_one_name_are_told_apart(shop: ModuleType) -> None:
    two = {"server": shop.server, "tools": ["price"]}
    env = MCPEnv([two | {"name": "first"}, two | {"name": "second"}, two | {"name": "second"}])
    opening, _ = await env.reset(task=TASK, seed=0)
    assert [spec.name for spec in opening.tools] == ["price", "second_price", "second2_price"]
    assert await said(env, "second_price", item="mug") == "8"
    await env.close()


async def test_of_many_tools_only_those_that_were_looked_for_are_in_the_context(shop: ModuleType) -> None:
    for number in range(200):
        shop.server.add_tool(lambda: "done", name=f"file_form_{number}", description=f"Files form number {number}.")
    env = MCPEnv({"server": shop.server}, discover=True)
    opening, _ = await env.reset(task=TASK, seed=0)
    assert [spec.name for spec in opening.tools] == ["find_tools"]
    found = await call(env, "find_tools", query="what does a lamp cost?")
    assert "price" in json.loads(found.observation.messages[0].text)
    assert len(found.observation.tools) <= 6
    assert await said(env, "price", item="lamp") == "30"
    assert error_of(await call(env, "file_form_7")) == "unknown_tool"
    assert "No tool fits" in await said(env, "find_tools", query="zzz")
    await env.reset(task=TASK, seed=0)
    assert error_of(await call(env, "price", item="lamp")) == "unknown_tool"
    await env.close()


async def test_a_rule_that_switches_a_tool_off_holds_for_discovery_too(shop: ModuleType) -> None:
    env = MCPEnv({"server": shop.server}, discover=True, tool_rules={"without": ["price"]})
    await env.reset(task=TASK, seed=0)
    assert "price" not in await said(env, "find_tools", query="item costs price")
    await env.close()
    with pytest.raises(ConfigError, match=r"no tool 'prize'\. Did you mean 'price'"):
        await MCPEnv({"server": shop.server}, tool_rules={"without": ["prize"]}).reset(task=TASK, seed=0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "at least one"),
        ({}, "a command or a url"),
        ('{"command": [}', "not valid JSON"),
        ('{"command": []}', "command"),
        ("[]", "at least one"),
        ({"command": ["x"], "url": "http://x"}, "only one"),
        ("ftp://example.com", "no http"),
        ({"command": []}, "command"),
        ({"url": "http://x", "headers": {}, "sandbox": "local"}, "sandbox"),
        ({"url": "http://x", "name": "a b"}, "letters, digits"),
        ({"url": "http://x", "call_seconds": 0}, "call_seconds"),
    ],
)
def test_servers_that_make_no_sense_are_refused_when_they_are_given(given: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        MCPEnv(given)


async def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTENV_TEST_TOKEN", raising=False)
    env = MCPEnv({"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer ${AGENTENV_TEST_TOKEN}"}})
    with pytest.raises(ConfigError, match="AGENTENV_TEST_TOKEN, which is not set"):
        await env.reset(task=TASK, seed=0)
    await env.close()


async def test_nobody_answering_is_a_failure_and_says_where() -> None:
    env = MCPEnv({"url": "http://127.0.0.1:9/mcp", "name": "far"})
    with pytest.raises(ToolFailure, match="the MCP server far cannot be used"):
        await env.reset(task=TASK, seed=0)
    await env.close()
