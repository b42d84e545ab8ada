from __future__ import annotations

import asyncio
import json
import threading
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.arguments import Repair, SchemaError
from agentenv.errors import AgentenvError, SandboxError
from agentenv.messages import Part, Role, ToolCall
from agentenv.tools import Tool, ToolErrorKind, ToolOutcome, ToolSet, ToolSpec, tool


@tool(inline=True)
def convert(amount: float, unit: Literal["km", "mile"], places: int = 2) -> str:
    """Converts a distance.

    Kilometres become miles and the other way round.

    Args:
        amount: how far
        unit: what `amount` is given in
        places: digits after the point
    """
    return f"{amount * (0.621371 if unit == 'km' else 1.609344):.{places}f}"


async def outcome_of(tools: ToolSet, name: str, arguments: object) -> ToolOutcome:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return await tools.call(ToolCall("c1", name, text))


def test_the_schema_comes_from_the_signature_and_the_docstring() -> None:
    spec = ToolSet([convert]).specs[0]
    assert spec.name == "convert"
    assert spec.description == "Converts a distance.\nKilometres become miles and the other way round."
    assert spec.parameters["required"] == ["amount", "unit"]
    assert spec.parameters["properties"]["unit"] == {
        "description": "what `amount` is given in",
        "enum": ["km", "mile"],
        "type": "string",
    }
    assert spec.parameters["properties"]["places"]["default"] == 2
    assert ToolSpec.from_wire(spec.to_wire()) == spec


async def test_a_call_answers_with_a_tool_message_that_carries_its_id() -> None:
    outcome = await outcome_of(ToolSet([convert]), "convert", {"amount": 10, "unit": "km"})
    assert outcome.error is None
    assert (outcome.message.role, outcome.message.tool_call_id, outcome.message.text) == (Role.TOOL, "c1", "6.21")


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "hint"),
    [
        ("convrt", {}, ToolErrorKind.UNKNOWN_TOOL, "Did you mean 'convert'?"),
        ("zzz", {}, ToolErrorKind.UNKNOWN_TOOL, "The tools are: convert."),
        ("convert", '{"amount": 1', ToolErrorKind.INVALID_JSON, "not valid JSON"),
        ("convert", '{"amount": Infinity, "unit": "km"}', ToolErrorKind.INVALID_JSON, "Infinity"),
        ("convert", "[" * 100_000, ToolErrorKind.INVALID_JSON, "not valid JSON"),
        ("convert", [1, 2], ToolErrorKind.INVALID_ARGUMENTS, "invalid arguments"),
        ("convert", {"unit": "km"}, ToolErrorKind.INVALID_ARGUMENTS, "amount: Field required"),
        ("convert", {"amount": "far", "unit": "km"}, ToolErrorKind.INVALID_ARGUMENTS, "amount"),
        ("convert", {"amount": 1, "unit": "km", "x": 1}, ToolErrorKind.INVALID_ARGUMENTS, "x: Extra inputs"),
        ("convert", {"amount": 1, "unit": "km", "places": -1}, ToolErrorKind.RAISED, "ValueError"),
    ],
)
async def test_a_bad_call_is_an_observation_that_helps(
    name: str, arguments: object, kind: ToolErrorKind, hint: str
) -> None:
    outcome = await outcome_of(ToolSet([convert]), name, arguments)
    assert outcome.error is kind
    assert hint in outcome.message.text


@given(st.text())
def test_no_argument_text_whatever_raises(arguments: str) -> None:
    outcome = asyncio.run(outcome_of(ToolSet([convert]), "convert", arguments))
    assert outcome.error is not None


async def test_a_tool_that_hangs_is_given_up_and_said_so() -> None:
    release = threading.Event()

    def hang() -> str:
        """Waits for something that does not come."""
        release.wait(60)
        return "late"

    outcome = await outcome_of(ToolSet([Tool.of(hang, timeout=0.05)]), "hang", {})
    release.set()
    assert outcome.error is ToolErrorKind.TIMEOUT
    assert "gave no answer in 0.05 s" in outcome.message.text


async def test_a_timeout_raised_by_the_tool_itself_is_not_blamed_on_our_clock() -> None:
    async def ask() -> str:
        """Asks a service that is down."""
        raise TimeoutError("service is down")

    outcome = await outcome_of(ToolSet([ask]), "ask", {})
    assert outcome.error is ToolErrorKind.RAISED


async def test_the_calls_of_one_turn_run_side_by_side() -> None:
    """Each call waits for the other one, so running them one after the other would never end."""
    both = asyncio.Barrier(2)

    async def meet(who: str) -> str:
        """Meets somebody."""
        await both.wait()
        return who

    calls = [ToolCall(str(index), "meet", json.dumps({"who": who})) for index, who in enumerate("ab")]
    async with asyncio.timeout(10):
        outcomes = await ToolSet([meet]).call_all(calls)
    assert [outcome.message.text for outcome in outcomes] == ["a", "b"]


async def test_an_infrastructure_failure_escapes_as_what_it_is() -> None:
    async def run() -> str:
        """Runs in a sandbox that is gone."""
        raise SandboxError("container is gone")

    with pytest.raises(SandboxError):
        await outcome_of(ToolSet([run]), "run", {})


async def test_results_are_rendered_as_text_json_or_parts() -> None:
    picture = Part.image_url("data:image/png;base64,AAAA")

    async def look() -> Part:
        """Takes a picture."""
        return picture

    async def table() -> list[dict[str, int]]:
        """Lists rows."""
        return [{"a": 1}]

    tools = ToolSet([look, table])
    assert (await outcome_of(tools, "look", {})).message.content == (picture,)
    assert (await outcome_of(tools, "table", {})).message.text == '[{"a":1}]'


def test_a_parameter_without_a_type_and_two_tools_of_one_name_are_refused() -> None:
    def untyped(x):  # type: ignore[no-untyped-def]
        """Has no types."""

    with pytest.raises(AgentenvError, match="'x' needs a type hint"):
        Tool.of(untyped)
    with pytest.raises(AgentenvError, match="two tools are named 'convert'"):
        ToolSet([convert, convert])


def described(schema: dict[str, object]) -> ToolSet:
    return ToolSet([Tool.described(ToolSpec("echo", "", schema), lambda **values: values, inline=True)])


async def test_a_tool_that_others_describe_gets_what_its_schema_allows() -> None:
    tools = described({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "x-unknown": 1})
    assert json.loads((await outcome_of(tools, "echo", {"n": 1, "more": None})).message.text) == {"n": 1, "more": None}
    for wrong, says in (({"n": "1"}, 'n: "1" is not of type "integer"'), ({}, "required"), ([], "must be an object")):
        outcome = await outcome_of(tools, "echo", wrong)
        assert outcome.error is ToolErrorKind.INVALID_ARGUMENTS
        assert says in outcome.message.text


async def test_a_null_for_what_may_be_left_out_is_left_out_and_told() -> None:
    properties = {"n": {"type": "integer"}, "m": {"type": "integer"}, "any": {}}
    tools = described({"type": "object", "properties": properties, "required": ["n"]})
    outcome = await outcome_of(tools, "echo", {"n": 1, "m": None})
    assert (json.loads(outcome.message.text), outcome.repairs) == ({"n": 1}, (Repair.NULL,))
    allowed = await outcome_of(tools, "echo", {"n": 1, "any": None})
    assert (json.loads(allowed.message.text), allowed.repairs) == ({"n": 1, "any": None}, ())
    assert (await outcome_of(tools, "echo", {"n": None})).error is ToolErrorKind.INVALID_ARGUMENTS


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}}, {"$ref": "#/nowhere"}]
)
def test_a_schema_that_is_none_is_found_before_any_call_and_nothing_is_fetched(schema: dict[str, object]) -> None:
    with pytest.raises(SchemaError):
        described(schema)


async def test_arguments_of_another_type_that_can_mean_only_one_thing_are_taken_and_told() -> None:
    tools = ToolSet([convert])
    assert (await outcome_of(tools, "convert", {"amount": 10, "unit": "km", "places": 1})).repairs == ()
    coerced = await outcome_of(tools, "convert", {"amount": "10", "unit": "km", "places": "1"})
    assert (coerced.message.text, coerced.repairs) == ("6.2", (Repair.COERCED,))
