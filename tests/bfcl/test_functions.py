"""BFCL's function descriptions as tools that OpenAI and JSON Schema accept."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv_bfcl.functions import HINT, json_schema, tool_name, tool_spec
from agentenv_bfcl.single import Category
from agentenv_bfcl.source import Simulator, questions, simulator_functions
from tests.bfcl.installed import require_bfcl


@given(st.text(min_size=1))
def test_every_name_becomes_one_that_openai_accepts(name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool_name(name))


def test_dots_become_underscores_and_good_names_stay() -> None:
    assert tool_name("math.gcd.fast") == "math_gcd_fast"
    assert tool_name("get-user_1") == "get-user_1"


def test_types_are_translated_at_every_depth_and_any_is_no_type() -> None:
    described = {
        "type": "dict",
        "properties": {
            "at": {"type": "tuple", "items": {"type": "float"}},
            "options": {"type": "dict", "properties": {"size": {"type": "float", "description": "In cm."}}},
            "what": {"type": "any", "description": "Anything."},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["at"],
    }
    assert json_schema(described) == {
        "type": "object",
        "properties": {
            "at": {"type": "array", "items": {"type": "number"}},
            "options": {"type": "object", "properties": {"size": {"type": "number", "description": "In cm."}}},
            "what": {"description": "Anything."},
            "names": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["at"],
    }
    assert described["type"] == "dict"  # the description is left as it was


def test_a_parameter_that_is_called_type_is_no_type() -> None:
    described = {"type": "dict", "properties": {"type": {"type": "string"}, "items": {"type": "float"}}}
    assert json_schema(described)["properties"] == {"type": {"type": "string"}, "items": {"type": "number"}}


@pytest.mark.parametrize("category", list(Category))
def test_all_functions_of_a_category_become_valid_schemas_under_names_of_their_own(category: Category) -> None:
    require_bfcl()
    for row in questions(category):
        specs = [tool_spec(function) for function in row["function"]]
        assert len({spec.name for spec in specs}) == len(specs)
        for spec in specs:
            jsonschema_rs.validator_for(dict(spec.parameters), validate_formats=False)
            assert spec.parameters["type"] == "object"
            assert spec.description.endswith(HINT)


@pytest.mark.parametrize("simulator", list(Simulator))
def test_all_functions_of_a_simulator_become_valid_schemas(simulator: Simulator) -> None:
    require_bfcl()
    functions = simulator_functions(simulator)
    assert functions
    for function in functions:
        jsonschema_rs.validator_for(dict(tool_spec(function).parameters))
