"""Whatever a policy writes is actions or one clear error, for every dialect."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv.messages import ToolCall
from agentenv.tools import ToolErrorKind
from agentenv_gui.actions import Action
from agentenv_gui.codecs import DIALECTS, dialect
from agentenv_gui.codecs.contract import Dialect, DialectError, Native
from agentenv_gui.codecs.shapes import Wording
from agentenv_gui.seen import Size

SPOKEN = {name: dialect(name, Size(1280, 800)) for name in DIALECTS}
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-5, 5), st.floats(), st.text(max_size=8),
    st.sampled_from(["", "left", "ctrl+a", "Enter", "CTRL", "C-a", "\ud800", "x" * 200, 1e400, 10**30, "DONE"]),
)  # fmt: skip
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "z"]), SCALARS)


def fields(spoken: Dialect) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the dialect's own fields, and anything in them."""
    assert isinstance(spoken, Wording)
    names = sorted({field for word in spoken.words.values() for field in word.phrase.model_fields})
    tagged = st.dictionaries(st.sampled_from([*names, "nonsense"]), VALUES, max_size=5)
    words = st.sampled_from([*spoken.words, "nonsense", 7])
    return st.builds(lambda fields, word: {**fields, getattr(spoken, "tag", "nonsense"): word}, tagged, words) | tagged


def calls(spoken: Dialect) -> st.SearchStrategy[ToolCall]:
    names = st.sampled_from([tool.name for tool in spoken.tools]) | st.text(max_size=5)
    one = fields(spoken)
    objects = one | st.builds(lambda actions: {"actions": actions}, st.lists(one, max_size=3)) | VALUES
    return st.builds(ToolCall, st.just("c"), names, objects.map(json.dumps) | st.text(max_size=20))


def decode(spoken: Dialect, call: ToolCall) -> None:
    """Decodes a call; anything but actions and a dialect's error fails the test."""
    try:
        actions = spoken.decode(call)
    except DialectError as problem:
        check(problem)
    else:
        assert all(isinstance(action, Action) for action in actions)


def check(problem: DialectError) -> None:
    """An error says something, and does not repeat all that it is about."""
    assert 0 < len(str(problem)) < 1_500


def items(spoken: Dialect) -> st.SearchStrategy[dict[str, Any]]:
    one = fields(spoken)
    return st.fixed_dictionaries(
        {"type": st.sampled_from(["computer_call", "tool_use", 7])},
        optional={"id": VALUES, "call_id": VALUES, "name": VALUES, "input": one, "action": one, "actions": VALUES},
    )


CALLS = {name: calls(spoken) for name, spoken in SPOKEN.items()}
ITEMS = {name: items(spoken) for name, spoken in SPOKEN.items() if isinstance(spoken, Native)}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=25)
@given(st.data())
def test_any_call_is_actions_or_a_dialect_error(name: str, data: st.DataObject) -> None:
    decode(SPOKEN[name], data.draw(CALLS[name]))


@pytest.mark.parametrize("name", ITEMS)
@settings(max_examples=15)
@given(st.data())
def test_any_item_is_a_call_or_a_dialect_error(name: str, data: st.DataObject) -> None:
    spoken = SPOKEN[name]
    assert isinstance(spoken, Native)
    try:
        call = spoken.call_of(data.draw(ITEMS[name]))
    except DialectError:
        return
    decode(spoken, call)


HUGE = [
    ("openai", {"actions": [{"type": "type", "text": "x" * 1_000_000}]}),
    ("openai", {"actions": [{"type": "type", "text": "x" * 90_000}]}),
    ("openai", {"actions": [{"type": "drag", "path": [[1, 1]] * 5_000}]}),
    ("openai", {"actions": [{"type": "keypress", "keys": ["A"] * 1_000}]}),
    ("anthropic", {"action": "key", "text": "a " * 400}),
    ("anthropic", {"action": "wait", "duration": 1e9}),
    ("anthropic", {"action": "left_click", "coordinate": [math.nan, 1]}),
    ("anthropic", {"action": "left_click", "coordinate": [math.inf, 1]}),
    ("anthropic", {"action": "left_click", "coordinate": [1e300, 1]}),
    ("osworld", {"action_type": "SCROLL", "dx": 10**30, "dy": 0}),
    ("osworld", {"action_type": "X" * 50_000}),
    ("miniwob", {"action_type": "CLICK_ELEMENT", "ref": 10**12}),
]


@pytest.mark.parametrize(("name", "arguments"), HUGE)
def test_absurd_sizes_are_a_dialect_error(name: str, arguments: object) -> None:
    (tool,) = SPOKEN[name].tools
    with pytest.raises(DialectError) as told:
        SPOKEN[name].decode(ToolCall("c", tool.name, json.dumps(arguments)))
    check(told.value)


def test_a_path_of_a_million_places_is_not_even_read() -> None:
    path = ",".join(['{"x":1,"y":1}'] * 1_000_000)
    with pytest.raises(DialectError, match="characters long"):
        SPOKEN["openai"].decode(ToolCall("c", "computer", f'{{"actions":[{{"type":"drag","path":[{path}]}}]}}'))


def test_keys_are_not_repeated_without_end() -> None:
    with pytest.raises(DialectError, match="at most 1,000 actions"):
        SPOKEN["anthropic-toolset"].decode(ToolCall("c", "key", json.dumps({"text": "a " * 200, "repeat": 100})))


@pytest.mark.parametrize("arguments", ["null", "[]", "7", '"click"', "{", "[" * 100_000, "{'a': 1}", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_a_dialect_error(arguments: str) -> None:
    for spoken in SPOKEN.values():
        with pytest.raises(DialectError) as told:
            spoken.decode(ToolCall("c", spoken.tools[0].name, arguments))
        is_json = arguments in ("null", "[]", "7", '"click"')
        assert told.value.kind is (ToolErrorKind.INVALID_ARGUMENTS if is_json else ToolErrorKind.INVALID_JSON)


def test_deep_nesting_is_a_dialect_error() -> None:
    for depth in range(10, 1_010, 20):
        with pytest.raises(DialectError):
            SPOKEN["openai"].decode(ToolCall("c", "computer", '{"actions":' + "[" * depth + "]" * depth + "}"))
