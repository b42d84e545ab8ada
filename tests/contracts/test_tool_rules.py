"""What calls cost, which tools are there, and how long a policy may misuse them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import ToolCall, assistant
from agentenv.rewards import Reward, reward
from agentenv.tasks import Task
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules
from agentenv.tools import tool


class Counter(ToolEnv):
    """A number that can be raised and looked at."""

    async def setup(self) -> None:
        self.number = 0

    @tool(inline=True)
    def add(self, amount: int) -> int:
        """Adds to the number."""
        self.number += amount
        return self.number

    @tool(inline=True)
    def look(self) -> int:
        """The number."""
        return self.number

    @reward(inline=True)
    def right(self, completion: str) -> float:
        return float(completion == str(self.number))


async def opened(**rules: Any) -> Counter:
    env = Counter(tool_rules=rules)
    await env.reset(task=Task.ask("count", "Count."), seed=0)
    return env


async def called(env: ToolEnv, *calls: tuple[str, object]) -> StepResult:
    made = [
        ToolCall(f"c{number}", name, given if isinstance(given, str) else json.dumps(given))
        for number, (name, given) in enumerate(calls)
    ]
    return await env.step(Action(assistant(None, *made)))


def parts(result: StepResult) -> dict[str, float]:
    assert isinstance(result.reward, Reward)
    return {component.name: component.value * component.weight for component in result.reward.components}


async def test_a_turn_is_charged_for_its_calls_and_the_answer_is_paid_whole() -> None:
    env = await opened(cost=0.1, costs={"look": 0.02})
    assert parts(await called(env, ("add", {"amount": 2}), ("look", {}))) == {"tool_cost": pytest.approx(-0.12)}
    last = await env.step(Action(assistant("2")))
    assert (last.terminated, parts(last)) == (True, {"right": 1.0})
    assert last.info["metrics"]["tool_cost"] == pytest.approx(0.12)


async def test_calls_that_no_longer_fit_into_the_budget_are_refused_and_cost_nothing() -> None:
    env = await opened(cost=0.1, budget=0.3)
    result = await called(env, *[("add", {"amount": 1})] * 5)
    assert env.number == 3
    assert [tool["error"] for tool in result.info["tools"]] == [None, None, None, "refused", "refused"]
    assert "costs 0.1, which the budget for tools has not left" in result.observation.messages[-1].text
    assert parts(result) == {"tool_cost": pytest.approx(-0.3)}


async def test_a_tool_that_is_switched_off_is_neither_offered_nor_called() -> None:
    env = await opened(without=["add"])
    result = await called(env, ("add", {"amount": 1}))
    assert [spec.name for spec in result.observation.tools] == ["look"]
    assert result.info["tools"][0]["error"] == "unknown_tool"
    assert env.number == 0


def test_rules_may_be_json_as_a_command_line_has_them() -> None:
    assert Counter(tool_rules='{"without": ["add"], "cost": 0.5}').tool_rules == ToolRules(without=["add"], cost=0.5)
    with pytest.raises(ConfigError, match="tool_rules"):
        Counter(tool_rules="{")


async def test_all_tools_can_be_switched_off() -> None:
    env = await opened(without=["*"])
    assert env.tools.specs == ()
    last = await env.step(Action(assistant("0")))
    assert (last.terminated, last.reward) == (True, 1.0)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"without": ["ad"]}, "there is no tool 'ad'. Did you mean 'add'?"),
        ({"costs": {"luck": 1.0}}, "there is no tool 'luck'. Did you mean 'look'?"),
    ],
)
async def test_a_rule_for_a_tool_that_is_not_there_is_a_mistake(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        await opened(**rules)


@pytest.mark.parametrize(
    "rules",
    [
        {"cost": -1},
        {"costs": {"add": -1}},
        {"costs": {"add": float("nan")}},
        {"budget": 0},
        {"max_error_rate": 1.5},
        {"costt": 1},
        {"cost": "x"},
    ],
)
def test_rules_that_make_no_sense_are_refused_when_they_are_given(rules: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"tool_rules: {next(iter(rules))}"):
        Counter(tool_rules=rules)


@pytest.mark.parametrize(
    ("rules", "calls", "reason"),
    [
        ({"max_invalid_calls": 2}, [("add", {}), ("nothing", {})], "invalid_call_limit"),
        ({"max_invalid_calls": 2}, [("add", "{"), ("add", {"amount": "x"})], "invalid_call_limit"),
        ({"max_repeated_calls": 2}, [("look", {})] * 3, "repeated_call_limit"),
        ({"max_error_rate": 0.5}, [("look", {})] * 3 + [("no", {})] * 3, "tool_error_limit"),
    ],
)
async def test_a_limit_that_is_reached_cuts_the_episode_off(rules: Any, calls: Any, reason: str) -> None:
    env = await opened(**rules)
    for call in calls[:-1]:
        assert not (await called(env, call)).truncated
    last = await called(env, calls[-1])
    assert (last.truncated, last.terminated, last.info["stop_reason"]) == (True, False, reason)


async def test_the_same_call_with_another_result_is_no_repetition() -> None:
    env = await opened(max_repeated_calls=1)
    for _ in range(3):
        assert not (await called(env, ("add", {"amount": 1}))).truncated
    assert env.tool_use.metrics["repeated_calls"] == 0


@pytest.mark.parametrize(
    ("arguments", "repairs"),
    [('{"amount": 2}', 0), ('{"amount": "2"}', 1), ("{'amount': 2}", 1), ('"{\\"amount\\": 2}"', 1)],
)
async def test_what_is_put_right_is_counted(arguments: str, repairs: int) -> None:
    env = await opened(repair=True)
    result = await called(env, ("add", arguments))
    assert (env.number, result.info["metrics"]["repaired_calls"]) == (2, repairs)


@pytest.mark.parametrize("arguments", ["{'amount': 2}", '"{\\"amount\\": 2}"', "__import__('os')", "{'a': {1}}"])
async def test_without_repair_only_json_is_read(arguments: str) -> None:
    env = await opened()
    assert (await called(env, ("add", arguments))).info["tools"][0]["error"] in ("invalid_json", "invalid_arguments")
    assert env.number == 0


async def test_an_episode_begins_with_nothing_used() -> None:
    env = await opened(max_invalid_calls=1)
    assert (await called(env, ("no", {}))).truncated
    await env.reset(task=Task.ask("count", "Count."), seed=0)
    assert not (await called(env, ("look", {}))).truncated
