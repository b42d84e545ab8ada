"""Expressions, worked out exactly where that is possible, without `eval` and in bounded time."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction

Number = int | Fraction | float

MAX_CHARACTERS = 500
"""Of an expression."""
MAX_BITS = 4_096
"""Of a whole number, and of either side of a fraction, on the way to a result as well: about 1,200 digits."""
MAX_POWER = 10_000
"""The largest exponent, whatever it belongs to."""
DIGITS = 12
"""Significant digits of a result that is no whole number."""

_OPERATIONS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}


def evaluate(expression: str) -> Number:
    """The value of an expression: an `int` where it is a whole number, a `Fraction` where it is exact, else a float.

    Decimals are exact: 0.1 + 0.2 is 3/10.

    >>> evaluate("2 * (3 + 4) ** 2"), evaluate("0.1 + 0.2"), evaluate("sqrt(144)")
    (98, Fraction(3, 10), 12)

    Raises:
        ValueError: it is none, or its value is too large; the message says what is wrong.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ValueError(f"an expression has at most {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
        return _whole(_value(tree.body, expression.strip().replace("^", "**")))
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise ValueError("the result is too large") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("this is no expression of numbers, + - * / // % **, brackets and functions") from None


def written(value: Number) -> str:
    """A value as text: whole numbers in full, others with `DIGITS` significant digits.

    >>> written(10**20), written(Fraction(1, 8)), written(Fraction(2, 3))
    ('100000000000000000000', '0.125', '0.666666666667')
    """
    if isinstance(value, int):
        return str(value)
    number = float(value)
    return f"{number:.{DIGITS}g}"


def _value(node: ast.expr, text: str) -> Number:
    match node:
        case ast.Constant(value=int() as whole) if not isinstance(whole, bool):
            return _bounded(whole)
        case ast.Constant(value=float() as decimal):
            return _decimal(decimal, ast.get_source_segment(text, node) or repr(decimal))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text)
        case ast.BinOp(left=left, op=sign, right=right):
            return _applied(sign, _value(left, text), _value(right, text))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return _bounded(_called(name, [_value(argument, text) for argument in arguments]))
    raise ValueError(
        f"{ast.unparse(node)[:60]!r} is not allowed; there are numbers, + - * / // % **, brackets, pi, e "
        f"and the functions {', '.join(FUNCTIONS)}"
    )


def _decimal(value: float, literal: str) -> Number:
    """The exact value of a decimal, from how it is written.

    The float that Python has made of it tells whether that is safe: 1e999999999 would take all memory there is.
    """
    if value > 1e300 or (value == 0 and literal.strip("0._eE+-")):
        raise ValueError("the number is too large or too small")
    return _bounded(Fraction(literal))


def _applied(sign: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(sign, ast.Pow):
        return _bounded(_power(left, right))
    if isinstance(sign, ast.Div):
        exact = not isinstance(left, float) and not isinstance(right, float)
        return _bounded(Fraction(left) / Fraction(right) if exact else left / right)
    if type(sign) not in _OPERATIONS:
        raise ValueError("the operations are + - * / // % **")
    return _bounded(_OPERATIONS[type(sign)](left, right))


def _power(base: Number, exponent: Number) -> Number:
    exponent = _whole(exponent)
    if isinstance(base, float) or not isinstance(exponent, int):
        found = float(base) ** float(exponent)
        if isinstance(found, complex):
            raise ValueError("a root of a negative number")
        return float(found)
    largest = max(abs(base.numerator), base.denominator)
    if abs(exponent) > MAX_POWER or largest.bit_length() * abs(exponent) > 2 * MAX_BITS:
        raise ValueError("the power is too large")
    return Fraction(base) ** exponent


def _called(name: str, arguments: list[Number]) -> Number:
    try:
        found: Number = FUNCTIONS[name](*arguments)
    except TypeError:
        raise ValueError(f"{name} does not take these {len(arguments)} arguments") from None
    return found


def _root(value: Number) -> Number:
    if value < 0:
        raise ValueError("a root of a negative number")
    if isinstance(value, float):
        return math.sqrt(value)
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    exact = top * top == value.numerator and bottom * bottom == value.denominator
    return Fraction(top, bottom) if exact else math.sqrt(value)


def _rounded(value: Number, digits: Number = 0) -> Number:
    places = _whole(digits)
    if not isinstance(places, int) or abs(places) > 100:
        raise ValueError("round takes a whole number of digits, at most 100")
    if not places:
        return round(value)
    return round(value, places) if isinstance(value, float) else round(Fraction(value), places)


def _common_divisor(first: Number, second: Number) -> Number:
    one, other = _whole(first), _whole(second)
    if not isinstance(one, int) or not isinstance(other, int):
        raise ValueError("gcd takes whole numbers")
    return math.gcd(one, other)


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "sqrt": _root,
    "abs": abs,
    "round": _rounded,
    "floor": math.floor,
    "ceil": math.ceil,
    "min": min,
    "max": max,
    "gcd": _common_divisor,
}
"""What may be called, by name."""


def _whole(value: Number) -> Number:
    """The same number, as an `int` where it is a whole one and exact."""
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value


def _bounded(value: Number) -> Number:
    """Refuses what is too large to go on with."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the result is too large")
        return value
    if max(abs(value.numerator), value.denominator).bit_length() > MAX_BITS:
        raise ValueError(f"the result is too large: a number has at most {MAX_BITS} bits here")
    return value
