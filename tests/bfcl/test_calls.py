"""Ground truths are calls in Python, and are read as text."""

from __future__ import annotations

import json
import keyword
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import ConfigError
from agentenv_bfcl.calls import PythonCall

NAMES = st.text(string.ascii_letters, min_size=1, max_size=8).filter(lambda name: not keyword.iskeyword(name))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def move(source: str, destination: str, force: bool = False) -> None:
    """A function with parameters to place arguments by."""


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_python_would_write_is_read_back(name: str, arguments: dict[str, Any]) -> None:
    text = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    assert PythonCall.parse(text) == PythonCall(name, (), arguments)


def test_positional_arguments_get_the_names_of_the_functions_parameters() -> None:
    call = PythonCall.parse("move('a.txt', 'b.txt', force=True)")
    assert json.loads(call.arguments(move)) == {"source": "a.txt", "destination": "b.txt", "force": True}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "move",
        "a.move(1)",
        "move(x)",
        "move(move(1))",
        "move(**{'a': 1})",
        "move(1); quit()",
        "__import__('os').x()",
    ],
)
def test_anything_but_one_call_with_literals_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="literal arguments"):
        PythonCall.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("move('a', 'b', True, 4)", "takes 3 arguments"),
        ("move('a', source='b')", "source twice"),
        ("move(source={1, 2})", "must be JSON"),
    ],
)
def test_arguments_that_do_not_fit_the_function_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PythonCall.parse(text).arguments(move)
