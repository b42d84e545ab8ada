"""What a model can do wrong with tools, and what becomes of it: an observation, or the end of this episode alone."""

from __future__ import annotations

import json

import pytest

import agentenv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, ToolCall, assistant
from agentenv_tools.env import WorldEnv
from agentenv_tools.errands.calculator import CalculatorErrands
from agentenv_tools.errands.files import FileErrands
from agentenv_tools.errands.office import Office
from agentenv_tools.errands.sql import SqlErrands
from tests.environments.playing import continue_oracle, play, play_oracle


def raw(name: str, arguments: str) -> Message:
    return assistant(None, ToolCall("c", name, arguments))


async def tried(env: WorldEnv, name: str, arguments: str) -> StepResult:
    """One call in a fresh episode. Whatever it was, the episode can be done afterwards."""
    played = await play(env, [raw(name, arguments)])
    assert (await continue_oracle(env))[-1].reward == 1.0
    return played.last


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "says"),
    [
        ("read_fil", '{"path": "/"}', "unknown_tool", "Did you mean 'read_file'"),
        ("", "{}", "unknown_tool", "there is no tool ''"),
        ("read_file\0", "{}", "unknown_tool", "there is no tool"),
        ("read_file", "{}", "invalid_arguments", "path: Field required"),
        ("read_file", "", "invalid_arguments", "path: Field required"),
        ("read_file", '{"path": "/", "mode": "rb"}', "invalid_arguments", "mode: Extra inputs are not permitted"),
        ("read_file", '{"path": 3}', "invalid_arguments", "path: Input should be a valid string"),
        ("read_file", '{"path": null}', "invalid_arguments", "path: Input should be a valid string"),
        ("read_file", '["/"]', "invalid_arguments", "Input should be a valid dictionary"),
        ("read_file", '{"path": "/"', "invalid_json", "not valid JSON"),
        ("read_file", "[" * 100_000, "invalid_json", "not valid JSON"),
        ("read_file", '{"path": "/none"}', "raised", "/none is not there"),
        ("cancel_event", '{"event": "first"}', "invalid_arguments", "event: Input should be a valid integer"),
        ("cancel_event", '{"event": 1000000000000000000000000000000}', "raised", "there is no event"),
        ("cancel_event", '{"event": NaN}', "invalid_json", "NaN is not a JSON value"),
        ("book_train", '{"train": "T1", "passenger": "Ada", "seats": 1.5}', "invalid_arguments", "valid integer"),
        ("find_trains", '{"origin": "A", "destination": "B", "day": "today"}', "invalid_arguments", "valid date"),
    ],
)
async def test_a_wrong_call_is_an_observation_that_says_what_is_wrong(
    name: str, arguments: str, kind: str, says: str
) -> None:
    result = await tried(Office(), name, arguments)
    assert result.info["tools"][0]["error"] == kind
    assert says in result.observation.messages[0].text
    assert not result.terminated
    assert not result.truncated


@pytest.mark.parametrize(
    ("rules", "message", "reason"),
    [
        ({"max_invalid_calls": 3}, raw("no_such_tool", "{}"), "invalid_call_limit"),
        ({"max_invalid_calls": 3}, raw("write_file", '{"path": 1}'), "invalid_call_limit"),
        ({"max_repeated_calls": 3}, raw("list_folder", "{}"), "repeated_call_limit"),
        ({"max_error_rate": 0.6}, raw("read_file", '{"path": "/none"}'), "tool_error_limit"),
    ],
)
async def test_who_calls_wrongly_for_ever_is_cut_off_with_a_reason(
    rules: dict[str, float], message: Message, reason: str
) -> None:
    played = await play(FileErrands(tool_rules=rules), [message] * 11)
    assert (played.last.terminated, played.last.truncated) == (False, True)
    assert played.last.info["stop_reason"] == reason
    assert played.total == 0.0


async def test_who_calls_for_ever_without_a_mistake_meets_the_turn_limit() -> None:
    env = agentenv.make("tools/files-v0")
    played = await play(env, [raw("list_folder", "{}")] * 50)
    assert (len(played.steps), played.last.truncated, played.total) == (12, True, 0.0)


async def test_a_budget_refuses_the_calls_it_does_not_hold() -> None:
    env = FileErrands(tool_rules={"cost": 0.1, "budget": 0.2})
    calls = [ToolCall(str(number), "write_file", f'{{"path": "/{number}", "text": ""}}') for number in range(5)]
    played = await play(env, [assistant(None, *calls)])
    assert [tool["error"] for tool in played.last.info["tools"]] == [None, None, "refused", "refused", "refused"]
    written = [number for number in range(5) if f"files: /{number}" in env.here.facts()]
    assert written == [0, 1]


async def test_a_huge_result_is_cut_off_and_that_is_said() -> None:
    env = FileErrands(characters=1_000)
    text = "x" * 50_000
    await play(env, [raw("write_file", json.dumps({"path": "/big.txt", "text": text}))])
    result = await env.step(Action(raw("read_file", '{"path": "/big.txt"}')))
    shown = result.observation.messages[0].text
    assert shown == f"{'x' * 1_000}\n[cut off: these are 1,000 of 50,000 characters]"


async def test_a_huge_error_is_cut_off_too() -> None:
    env = CalculatorErrands(characters=1_000)
    played = await play(env, [raw("x" * 100_000, "{}")])
    assert len(played.last.observation.messages[0].text) < 1_100


async def test_a_hundred_calls_in_one_turn_are_all_answered() -> None:
    calls = [ToolCall(str(number), "run_sql", '{"statement": "SELECT 1"}') for number in range(100)]
    played = await play(SqlErrands(), [assistant(None, *calls)])
    assert [message.tool_call_id for message in played.last.observation.messages] == [str(n) for n in range(100)]
    assert not any(tool["error"] for tool in played.last.info["tools"])


async def test_a_reply_that_calls_a_tool_and_says_done_goes_on() -> None:
    env = FileErrands()
    message = assistant("DONE", ToolCall("c", "list_folder", "{}"))
    played = await play(env, [message])
    assert not played.ended
    assert (await continue_oracle(env))[-1].reward == 1.0


async def test_arguments_that_miss_json_by_little_are_read_where_the_rules_allow_it_and_counted() -> None:
    message = raw("list_folder", "{'path': '/'}")
    strict = await play(FileErrands(), [message])
    assert strict.last.info["tools"][0]["error"] == "invalid_json"
    repaired = await play(FileErrands(tool_rules={"repair": True}), [message])
    assert repaired.last.info["tools"][0]["error"] is None
    assert repaired.last.info["metrics"]["repaired_calls"] == 1


async def test_the_oracle_needs_no_repair() -> None:
    for task in Office().tasks("dev").head(10):
        played = await play_oracle(Office(tool_rules={"repair": True}), task)
        assert played.last.info["metrics"]["repaired_calls"] == 0


def test_showing_next_to_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="characters must be at least 100"):
        FileErrands(characters=99)
