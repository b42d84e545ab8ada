"""Plain data crosses unchanged, and two values are the same only where their types are too."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv_code.grading.comparison import MalformedError, normal, parse, same, show
from agentenv_code.inside.plain import UnplainError, decode, encode

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(HASHABLE, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert type(back) is type(value)
    assert list(back) == list(value) if isinstance(value, dict) else True


@given(VALUES)
def test_a_value_is_the_same_as_itself_however_it_was_made(value: Any) -> None:
    there = parse(json.dumps(encode(value)).encode())
    shuffled = encode(dict(reversed(value.items()))) if isinstance(value, dict) else encode(value)
    assert same(normal(there), normal(shuffled))


@given(VALUES)
def test_a_value_is_shown_as_python_writes_it(value: Any) -> None:
    shown = show(encode(value))
    if len(shown) < 200:
        assert eval(shown, {"float": float, "complex": complex, "bytes": bytes, "set": set}) == value


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, True),
        (0, False),
        (1, 1.0),
        ([1], (1,)),
        ("1", 1),
        (b"a", "a"),
        ({1}, [1]),
        ({"a": 1}, [["a", 1]]),
        (0, None),
    ],
)
def test_values_that_python_may_call_equal_are_not_the_same(value: Any, other: Any) -> None:
    assert not same(normal(encode(value)), normal(encode(other)))


def test_nan_is_nan_and_a_minus_before_zero_does_not_count() -> None:
    assert same(encode(math.nan), encode(math.nan))
    assert same(encode(-0.0), encode(0.0))


def test_numbers_may_be_off_where_that_is_allowed_and_nothing_else() -> None:
    assert same([0.1 + 0.2], [0.3], 1e-9)
    assert same(2, 2.0, 1e-9)
    assert not same(True, 1, 0.5)
    assert not same("0.3", 0.3, 1e-9)
    assert not same(10**400, 1.0, 1e-9)


@pytest.mark.parametrize(
    "value", [object(), int, len, iter([]), type("Mine", (int,), {})(1), [type("S", (str,), {})()]]
)
def test_whatever_could_have_a_will_of_its_own_is_refused(value: Any) -> None:
    with pytest.raises(UnplainError):
        encode(value)


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnplainError, match="nested"):
        encode(value)


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"[1,]", b"[" * 10_000 + b"]" * 10_000, b"\xff", b"9" * 5000])
def test_bytes_that_are_no_plain_data_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data)


@pytest.mark.parametrize("wire", [{"$int": "x"}, {"$set": [[1]]}, {"$what": 1}, {"$dict": [1]}, {"$bytes": "z"}])
def test_a_tag_without_its_value_is_refused(wire: Any) -> None:
    with pytest.raises(UnplainError):
        decode(wire)
