"""Keeps answers that are programs away from the verifiers that would run them.

Nine verifiers of reasoning-gym pass the policy's answer to `eval`, five of them by way of `sympy.parse_expr`. Until an
environment can run its verifier in a sandbox, the adapter hands them only answers that cannot do anything: a literal
or a board for those that expect one, an expression of bounded size for those that compute. The rules say what is
allowed; whatever they do not name is refused.

The price is a few harmless answers. `1e2`, `4!`, a comparison, or a name of several letters inside an expression are
not read as the verifier would read them; none of them is an answer these tasks ask for.
"""

from __future__ import annotations

import ast
import math
import re

LITERAL = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
"""Datasets that call `eval(answer)`, to accept a Python list where text was asked for."""

ARITHMETIC = frozenset({"countdown", "polynomial_multiplication", "puzzle24"})
"""Datasets that call `sympy.parse_expr(answer)` where no function belongs in the answer."""

CALCULUS = frozenset({"intermediate_integration", "simple_integration"})
"""The same, where functions do."""

FUNCTIONS = frozenset({"Abs", "Integral", "exp", "ln", "log", "sqrt"}) | {
    *("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "acot"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
}
"""What an integral may be written with. `Integral` stands in some of the datasets' own answers."""

LITERAL_LENGTH, EXPRESSION_LENGTH = 200_000, 2_000
DEPTH = 100
EXPONENT_BITS, NUMBER_BITS = 10, 20_000
"""How large an exponent, and how long a number that sympy could be made to write out, may become."""

UNREADABLE = ""
"""What a verifier is given in place of an answer that is no Python expression: it pays as little for this one."""

_CELL = re.compile(r"[A-Z]+|[Q_]+|-?[0-9]+")
_NAME = re.compile(r"[A-Za-z][0-9]?|pi")
_EXPRESSION = re.compile(r"[A-Za-z0-9_ \t\n+\-*/%^().,]*")
_SCIENTIFIC = re.compile(r"[0-9.][eE][+-]?[0-9]")


def admitted(dataset: str, answer: str | None) -> str | None:
    """The answer as the dataset's verifier may see it, or `None` where it must not see it at all.

    An answer that is no Python expression becomes `UNREADABLE`: sympy's own reader accepts more than Python's, so that
    an unreadable answer is not by that harmless. Answers to datasets that evaluate nothing are never touched.

    >>> admitted("countdown", "6*(98 - 54) - 34"), admitted("countdown", "6 times 9")
    ('6*(98 - 54) - 34', '')
    >>> admitted("countdown", "open('x')"), admitted("chain_sum", "open('x')")
    (None, "open('x')")
    """
    if answer is None or dataset not in LITERAL | ARITHMETIC | CALCULUS:
        return answer
    literal = dataset in LITERAL
    if len(answer) > (LITERAL_LENGTH if literal else EXPRESSION_LENGTH):
        return None
    if literal and all(_CELL.fullmatch(cell) for cell in answer.split()):
        return answer
    try:
        tree = ast.parse(answer.strip(), mode="eval")
    except SyntaxError:
        return UNREADABLE
    except (ValueError, MemoryError, RecursionError):  # null bytes; brackets or signs without end
        return None
    if (
        _is_literal(tree)
        if literal
        else _is_expression(answer, tree, FUNCTIONS if dataset in CALCULUS else frozenset())
    ):
        return answer
    return UNREADABLE if isinstance(tree.body, ast.Name) else None  # one word, which means nothing here


def _is_literal(tree: ast.Expression) -> bool:
    """Whether `eval` of it builds a value and does nothing else."""
    if _deeper(tree, DEPTH):
        return False
    try:
        ast.literal_eval(tree)
    except (ValueError, TypeError):  # TypeError: a list as the key of a dict
        return False
    return True


def _is_expression(answer: str, tree: ast.Expression, functions: frozenset[str]) -> bool:
    """Whether sympy can compute it without calling anything but `functions` and without numbers that never end.

    The characters are looked at too: sympy cuts the text into tokens by itself, and must not see others than we do.
    """
    if not _EXPRESSION.fullmatch(answer) or _SCIENTIFIC.search(answer) or _deeper(tree, DEPTH):
        return False
    return _bits(tree.body, functions) <= NUMBER_BITS


def _bits(node: ast.expr, functions: frozenset[str]) -> float:
    """Bits of the largest numerator or denominator that the expression can come to; infinite if it is not allowed.

    Symbols count nothing, as they stay symbols. For fractions a/b and c/d of at most m and n bits, a sum, product or
    quotient has at most m + n + 1, and the power with exponent e has m·|e|.
    """
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and math.isfinite(value):
            return abs(math.log2(abs(value))) if value else 0.0
        case ast.Name(id=name) if _NAME.fullmatch(name):
            return 2.0 if name in ("E", "pi") else 0.0
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _bits(operand, functions)
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            size = _bits(exponent, functions)
            return _bits(base, functions) * 2**size if size <= EXPONENT_BITS else math.inf
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return _bits(left, functions) + _bits(right, functions) + 1
        case ast.BinOp(left=left, op=ast.FloorDiv() | ast.Mod() | ast.BitXor(), right=right):
            return _bits(left, functions) + _bits(right, functions) + 1
        case ast.Call(func=called, args=arguments, keywords=[]):
            # 6(3 + 2) is a common slip, and calling a number is an error that the verifier knows how to pay.
            own = (0.0 if called.id in functions else math.inf) if isinstance(called, ast.Name) else None
            return (
                (_bits(called, functions) if own is None else own) + sum(_bits(one, functions) for one in arguments) + 1
            )
        case _:
            return math.inf


def _deeper(tree: ast.AST, limit: int) -> bool:
    """Whether the tree has more than `limit` levels; found level by level, as recursion has limits of its own."""
    level = [tree]
    for _ in range(limit):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True
