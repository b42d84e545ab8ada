"""What goes over the wire is JSON for any reader, whoever wrote it: orjson, or the standard library without it."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentenv.errors import EnvironmentFailure
from agentenv.gateway.environments import jsontext
from tests.conftest import require

WRITERS = [pytest.param(True, id="orjson"), pytest.param(False, id="standard library")]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@pytest.fixture(params=WRITERS, autouse=True)
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(jsontext, "orjson", None)
    else:
        require(jsontext.orjson is not None, "orjson")


def strict(text: bytes) -> Any:
    """Reads JSON as a reader does that knows no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@example(value={"just beyond 64 bits": [-(2**63) - 1, 2**64]})
@given(value=st.dictionaries(st.text(), json_values, max_size=4))
def test_a_json_value_comes_back_as_it_was_from_one_line(value: dict[str, Any]) -> None:
    text = jsontext.encode(value)
    assert b"\n" not in text
    assert strict(text) == value
    assert jsontext.decode(text) == value


@pytest.mark.parametrize("text", ["half a \ud83d pair", "\udfff", "line\nbreak", "\u2028", "\x00"])
def test_text_no_editor_would_write_comes_back(text: str) -> None:
    assert strict(jsontext.encode({"text": text})) == {"text": text}


def test_what_is_no_number_is_null_wherever_it_stands() -> None:
    value = {"info": {"loss": float("nan"), "steps": 3}, "messages": [{"scores": [float("inf"), 1.5]}]}
    assert strict(jsontext.encode(value)) == {"info": {"loss": None, "steps": 3}, "messages": [{"scores": [None, 1.5]}]}


def test_a_diagnostic_json_has_no_word_for_is_written_as_the_nearest() -> None:
    info = {"when": datetime.date(2026, 1, 2), "which": {2, 1}, "big": 2**70}
    assert strict(jsontext.encode({"info": info}))["info"] == {
        "when": "datetime.date(2026, 1, 2)",
        "which": [1, 2],
        "big": 2**70,
    }
    assert "unserialisable" in strict(jsontext.encode({"info": {("a", "b"): 1}}))["info"]


def test_anywhere_else_it_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFailure, match="JSON cannot say"):
        jsontext.encode({"messages": [object()], "info": {}})
