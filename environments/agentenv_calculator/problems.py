"""Chains of arithmetic operations: how they are invented, worded and worked out."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agentenv.messages import user
from agentenv.tasks import Task

MAX_DIGITS = 30
"""Longest number the calculator takes: what the hardest task needs (999 ^ 10), and no way to keep it busy."""

_EXPRESSION = re.compile(rf"\s*(-?[0-9]{{1,{MAX_DIGITS}}})\s*([-+*])\s*(-?[0-9]{{1,{MAX_DIGITS}}})\s*")


class Operator(StrEnum):
    """An operation, by its sign in an expression."""

    PLUS = "+"
    MINUS = "-"
    TIMES = "*"

    @property
    def word(self) -> str:
        """Its name in a task's text."""
        return self.name.lower()

    def apply(self, left: int, right: int) -> int:
        return _FUNCTIONS[self](left, right)


_FUNCTIONS: dict[Operator, Callable[[int, int], int]] = {
    Operator.PLUS: operator.add,
    Operator.MINUS: operator.sub,
    Operator.TIMES: operator.mul,
}


def evaluate(expression: str) -> int:
    """The value of exactly one operation on two integers.

    Raises:
        ValueError: for anything else: a chain, a division, brackets, a number of more than `MAX_DIGITS` digits.

    >>> evaluate("12*34"), evaluate("-7 - -5")
    (408, -2)
    """
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ValueError(
            f"expected one operation (+, - or *) on two integers of at most {MAX_DIGITS} digits, such as 12*34"
        )
    return Operator(match[2]).apply(int(match[1]), int(match[3]))


@dataclass(frozen=True, slots=True)
class Chain:
    """`first`, and the operations done to it from left to right."""

    first: int
    steps: tuple[tuple[Operator, int], ...]

    @classmethod
    def draw(cls, rng: random.Random, level: int, operand_max: int) -> Chain:
        """A chain of `level` operations. Operands start at 2, so that no operation can be skipped unnoticed."""
        first = rng.randint(2, operand_max)
        steps = tuple((rng.choice(tuple(Operator)), rng.randint(2, operand_max)) for _ in range(level))
        return cls(first, steps)

    @property
    def values(self) -> tuple[int, ...]:
        """The value after each step; the last is the answer."""
        value, found = self.first, []
        for operation, operand in self.steps:
            value = operation.apply(value, operand)
            found.append(value)
        return tuple(found)

    @property
    def expressions(self) -> tuple[str, ...]:
        """The calculator calls that work the chain out."""
        lefts = (self.first, *self.values)
        pairs = zip(lefts, self.steps, strict=False)
        return tuple(f"{left}{operation}{operand}" for left, (operation, operand) in pairs)

    @property
    def text(self) -> str:
        """
        >>> Chain(12, ((Operator.TIMES, 34), (Operator.MINUS, 5))).text
        '12 times 34, then minus 5'
        """
        return f"{self.first} " + ", then ".join(f"{operation.word} {operand}" for operation, operand in self.steps)

    def task(self) -> Task:
        """The chain as a row; its id and split are filled in by the task source."""
        data = {
            "level": len(self.steps),
            "first": self.first,
            "steps": [[operation.value, operand] for operation, operand in self.steps],
            "expressions": list(self.expressions),
            "values": list(self.values),
        }
        return Task("", (user(self.text),), self.values[-1], data)

    @classmethod
    def of(cls, task: Task) -> Chain:
        """The chain that `task()` made the row from."""
        steps = tuple((Operator(sign), operand) for sign, operand in task.data["steps"])
        return cls(task.data["first"], steps)
