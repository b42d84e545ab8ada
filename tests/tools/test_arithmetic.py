"""The calculator: what it works out, and what it refuses."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv_tools.worlds import CalculatorWorld
from agentenv_tools.worlds.arithmetic import evaluate
from tests.tools.worlds import made, outcome_of, refusal


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ** 3 ** 2", "512"),
        ("2 ^ 10", "1024"),
        ("-2 ** 2", "-4"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 / 2", "3.5"),
        ("1 / 3", "0.333333333333"),
        ("0.1 + 0.2", "0.3"),
        ("0.1 * 3 - 0.3", "0"),
        ("6 / 3", "2"),
        ("2 ** -2", "0.25"),
        ("sqrt(144)", "12"),
        ("sqrt(2)", "1.41421356237"),
        ("sqrt(2.25)", "1.5"),
        ("round(1000 / 7, 2)", "142.86"),
        ("round(1234, -2)", "1200"),
        ("floor(-0.5) + ceil(0.5)", "0"),
        ("max(1, 5, 3) - min(4, 2)", "3"),
        ("gcd(84, 36)", "12"),
        ("abs(-3.5)", "3.5"),
        ("9999999999 * 9999999999", "99999999980000000001"),
        ("2 * pi", "6.28318530718"),
        ("1e3 + 1", "1001"),
    ],
)
async def test_an_expression_has_a_value(expression: str, value: str) -> None:
    outcome = await outcome_of(made(CalculatorWorld), "calculate", expression=expression)
    assert (outcome.error, outcome.message.text) == (None, value)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9", "too large"),
        ("(2**4000) * (2**4000)", "too large"),
        ("1e999999999", "too large"),
        ("0e999999999", "too large"),
        ("1e-999999999", "too large or too small"),
        ("2.0 ** 100000", "too large"),
        ("10 ** 10 ** 10 % 7", "too large"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("sqrt(-1)", "root of a negative number"),
        ("(-8) ** 0.5", "root of a negative number"),
        ("", "no expression"),
        ("1 +", "no expression"),
        ("1; 2", "no expression"),
        ("x + 1", "not allowed"),
        ("True + 1", "not allowed"),
        ("'a' * 1000", "not allowed"),
        ("[1] * 9", "not allowed"),
        ("__import__('os').getcwd()", "not allowed"),
        ("(1).__class__", "not allowed"),
        ("open('/etc/passwd')", "not allowed"),
        ("(lambda: 1)()", "not allowed"),
        ("sqrt(x=4)", "not allowed"),
        ("sqrt(1, 2)", "does not take these 2 arguments"),
        ("gcd(1.5, 2)", "whole numbers"),
        ("round(1.5, 0.5)", "whole number of digits"),
        ("1 << 99", "the operations are"),
        ("1" * 501, "at most 500 characters"),
        ("(" * 250 + "1" + ")" * 249, "no expression"),
        ("1 < 2", "not allowed"),
    ],
)
async def test_what_is_no_expression_or_grows_too_large_is_refused_at_once(expression: str, says: str) -> None:
    started = time.perf_counter()
    assert says in await refusal(made(CalculatorWorld), "calculate", expression=expression)
    assert time.perf_counter() - started < 1.0


Worked = tuple[str, Fraction]
"""An expression, and its value by another way."""


def joined(parts: tuple[Worked, str, Worked]) -> Worked:
    (left, one), sign, (right, other) = parts
    if sign == "/" and not other:
        sign = "-"
    values = {"+": one + other, "-": one - other, "*": one * other}
    return f"({left} {sign} {right})", values[sign] if sign in values else one / other


numbers = st.integers(0, 999).map(lambda number: (str(number), Fraction(number)))
expressions = st.recursive(
    numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(joined), max_leaves=12
)


@given(expressions)
def test_sums_products_and_quotients_are_exact(pair: Worked) -> None:
    expression, value = pair
    assert evaluate(expression) == value


@given(st.text(max_size=60))
def test_no_text_does_anything_but_give_a_number_or_be_refused(text: str) -> None:
    try:
        value = evaluate(text)
    except ValueError:
        return
    assert isinstance(value, int | float | Fraction)
