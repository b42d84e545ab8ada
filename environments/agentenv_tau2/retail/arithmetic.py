"""The value of an arithmetic expression, without running it as a program."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

LONGEST = 500
"""Characters of an expression."""

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str) -> float:
    """The value of numbers with +, -, *, / and brackets.

    >>> evaluate("(2 + 3) * 1.5")
    7.5

    Raises:
        ValueError: it is something else, divides by zero, or is too long or too large.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as problem:
        raise ValueError(f"{expression!r} has no value: {problem}") from problem
    if not math.isfinite(value):
        raise ValueError(f"{expression!r} is too large")
    return value


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
            return _OPERATIONS[type(operation)](_value(left), _value(right))
    raise ValueError("an expression holds numbers, +, -, *, / and brackets, and nothing else")
