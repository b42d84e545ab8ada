from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.chat import ChatEnv
from agentenv.errors import ConfigError, ModelError, UnsupportedError
from agentenv.messages import Message, assistant, user
from agentenv.policy.contract import Sampling, Session
from agentenv.policy.scripted import (
    CallablePolicy,
    NoopPolicy,
    OraclePolicy,
    RandomPolicy,
    ScriptedPolicy,
    random_value,
)
from agentenv.tasks import Task
from agentenv.tools import Tool, tool

OPENING = (user("What is 1 + 2?"),)
SESSION = Session("episode", seed=7)


async def say(policy: Any, *messages: Message, tools: tuple[Any, ...] = (), session: Session = SESSION) -> Message:
    completion = await policy.complete(messages or OPENING, tools, Sampling(), session)
    message: Message = completion.message
    return message


async def test_a_script_is_said_turn_by_turn_and_an_extra_turn_is_a_model_error() -> None:
    policy = ScriptedPolicy(["first", assistant("second")])
    assert (await say(policy)).text == "first"
    assert (await say(policy, *OPENING, assistant("first"), user("go on"))).text == "second"
    with pytest.raises(ModelError, match="2 replies, and turn 3"):
        await say(policy, *OPENING, assistant("first"), assistant("second"))


async def test_one_script_serves_two_episodes_at_once() -> None:
    policy = ScriptedPolicy(["first", "second"])
    assert (await say(policy)).text == (await say(policy, session=Session("other", 1))).text == "first"


async def test_a_function_may_be_plain_or_async() -> None:
    async def later(messages: Any, tools: Any, session: Session) -> str:
        return f"{messages[-1].text} {session.seed}"

    assert (await say(CallablePolicy(later))).text == "What is 1 + 2? 7"
    assert (await say(CallablePolicy(lambda messages, tools, session: assistant("3")))).text == "3"


class Sum(ChatEnv):
    def oracle(self) -> Message:
        return assistant(str(self.task.answer))


async def test_the_oracle_policy_says_what_the_running_environment_knows() -> None:
    env = Sum()
    await env.reset(task=Task.ask("t", "1 + 2?", answer=3), seed=0)
    assert (await say(OraclePolicy(), session=Session("e", 0, env))).text == "3"
    with pytest.raises(UnsupportedError, match="running environment"):
        await say(OraclePolicy())


async def test_the_noop_policy_says_nothing() -> None:
    message = await say(NoopPolicy())
    assert (message.text, message.tool_calls) == ("", ())


def search(query: str, limit: int = 5, deep: bool | None = None) -> str:
    """Searches."""
    return query


async def test_the_random_policy_depends_on_seed_and_turn_alone() -> None:
    tools = (Tool.of(tool(search)).spec,)
    random.seed(1)
    first = [await say(RandomPolicy(), tools=tools, session=Session(f"a{seed}", seed)) for seed in range(20)]
    random.seed(2)
    again = [await say(RandomPolicy(), tools=tools, session=Session(f"b{seed}", seed)) for seed in range(20)]
    assert first == again
    assert len({message.text for message in first}) > 2
    assert await say(RandomPolicy(), *OPENING, assistant("x"), session=SESSION) != await say(RandomPolicy())


async def test_the_random_policy_leaves_the_global_generator_alone() -> None:
    before = random.getstate()
    await say(RandomPolicy())
    assert random.getstate() == before


async def test_random_calls_fit_the_schema_of_the_tool() -> None:
    found = Tool.of(search)
    calls = [
        (await say(RandomPolicy(call_probability=1.0), tools=(found.spec,), session=Session("", seed))).tool_calls[0]
        for seed in range(50)
    ]
    assert {call.name for call in calls} == {"search"}
    for call in calls:
        assert found.reader.read(json.loads(call.arguments)).repairs == ()


@given(st.integers())
def test_random_values_follow_references_choices_and_enumerations(seed: int) -> None:
    schema = {
        "type": "object",
        "required": ["tree", "colour", "either"],
        "properties": {
            "tree": {"$ref": "#/$defs/Tree"},
            "colour": {"enum": ["red", "blue"]},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "$defs": {
            "Tree": {"type": "object", "properties": {"children": {"items": {"$ref": "#/$defs/Tree"}, "type": "array"}}}
        },
    }
    value = random_value(schema, random.Random(seed), schema)
    assert json.loads(json.dumps(value)) == value
    assert isinstance(value["tree"], dict)
    assert value["colour"] in ("red", "blue")
    assert value["either"] is None or isinstance(value["either"], int)


def test_a_probability_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        RandomPolicy(call_probability=1.5)
