"""`bfcl/single-v0`: what it asks, what it pays, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import agentenv
from agentenv.env import Action
from agentenv.errors import AgentenvError, ConfigError, MissingDataError
from agentenv.messages import ToolCall, assistant
from agentenv.tasks import Task
from agentenv_bfcl import source
from agentenv_bfcl.single import Category, SingleTurn
from tests.bfcl.installed import require_bfcl
from tests.environments.playing import call, play, play_oracle

CONTRADICTIONS = {
    "live_simple_106-63-0": "an object is required, and only its absence is allowed",
    "live_simple_112-68-0": "the same",
    "live_multiple_862-181-3": "a value is due for a parameter that the function does not have",
    "live_multiple_964-207-0": "the same",
}
"""Questions of BFCL that no answer satisfies, nor does one satisfy BFCL's own checker."""

SIZES = {
    "simple_python": 400,
    "multiple": 200,
    "parallel": 200,
    "parallel_multiple": 200,
    "irrelevance": 240,
    "live_simple": 258,
    "live_multiple": 1053,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
    "live_irrelevance": 884,
    "live_relevance": 16,
}


def task_of(category: str, index: int = 0) -> Task:
    require_bfcl()
    return SingleTurn(category).tasks("test").task(index)


async def test_every_oracle_earns_full_marks_but_where_bfcl_contradicts_itself() -> None:
    require_bfcl()
    env = agentenv.make("bfcl/single-v0")
    sizes: Counter[str] = Counter()
    for task in env.tasks("test"):
        played = await play_oracle(env, task)
        assert played.last.terminated
        assert played.total == float(task.id not in CONTRADICTIONS), task.id
        sizes[task.data["category"]] += 1
    assert sizes == SIZES


async def test_a_message_without_calls_earns_full_marks_only_where_no_function_fits() -> None:
    require_bfcl()
    env = agentenv.make("bfcl/single-v0")
    for category in Category:
        task = task_of(category)
        fits = category not in (Category.IRRELEVANCE, Category.LIVE_IRRELEVANCE)
        assert (await play(env, ["I cannot do that."], task)).total == float(not fits)


async def test_the_observation_is_the_question_with_its_functions_as_tools() -> None:
    env = SingleTurn("simple_python", system_prompt="Call a function.")
    observation, _ = await env.reset(task=task_of("simple_python"), seed=0)
    assert [message.text for message in observation.messages] == [
        "Call a function.",
        "Find the area of a triangle with a base of 10 units and height of 5 units.",
    ]
    (spec,) = observation.tools
    assert spec.name == "calculate_triangle_area"
    assert spec.parameters["required"] == ["base", "height"]


async def test_the_same_call_with_an_optional_argument_is_right_and_with_a_wrong_one_is_not() -> None:
    task, env = task_of("simple_python"), SingleTurn("simple_python")
    for arguments, earned in [
        ({"base": 10, "height": 5}, 1.0),
        ({"base": 10, "height": 5, "unit": "units"}, 1.0),
        ({"base": 10, "height": 5, "unit": "cm"}, 0.0),
        ({"base": 10}, 0.0),
        ({"base": 10.0, "height": 5}, 0.0),
    ]:
        played = await play(env, [call("calculate_triangle_area", json.dumps(arguments))], task)
        assert played.total == earned, arguments


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '"text"', "NaN"])
async def test_arguments_that_are_no_object_are_wrong_and_no_call_where_none_is_due(arguments: str) -> None:
    name = task_of("simple_python").data["functions"][0]["name"]
    played = await play(SingleTurn(), [call(name, arguments)], task_of("simple_python"))
    assert played.total == 0.0
    readable = arguments == ""  # an empty text is an empty object
    played = await play(SingleTurn(), [call(name, arguments)], task_of("irrelevance"))
    assert played.total == float(not readable)


async def test_two_calls_are_wrong_where_one_is_due() -> None:
    task = task_of("simple_python")
    one = ToolCall("a", "calculate_triangle_area", '{"base": 10, "height": 5}')
    played = await play(SingleTurn(), [assistant(None, one, one)], task)
    assert played.total == 0.0
    assert played.last.info["verdict"] == "2 calls where 1 are due"


async def test_an_episode_is_over_after_one_message() -> None:
    env = SingleTurn()
    await play(env, ["No."], task_of("irrelevance"))
    with pytest.raises(AgentenvError, match="call reset"):
        await env.step(Action(assistant("No.")))


def test_tasks_survive_a_round_trip_through_json() -> None:
    for category in Category:
        task = task_of(category)
        assert Task.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        ("simple_java", "simple_java is not offered"),
        (["multiple", "simple_javascript"], "simple_javascript is not offered"),
        ("simpel_python", "Did you mean 'simple_python'"),
        ([], "categories is empty"),
    ],
)
def test_categories_that_are_not_there_are_refused_by_name(categories: str | list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SingleTurn(categories)


def test_the_tasks_are_a_test_split_unless_somebody_says_otherwise() -> None:
    require_bfcl()
    with pytest.raises(ConfigError, match="there is no 'train' of it"):
        SingleTurn().tasks("train")
    assert SingleTurn("parallel", default_split="train").tasks("train").task(0).split == "train"


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGE", "bfcl_eval_that_is_not_there")
    with pytest.raises(MissingDataError, match="pip install --no-deps 'bfcl-eval"):
        source.questions("parallel")
