"""What is asked: a number to be looked up, and one operation on it."""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agentenv.messages import user
from agentenv.tasks import Task
from agentenv_tools.research.catalogue import ITEMS, Fact

OPERANDS = range(2, 20)
"""Smaller than every number in a catalogue, so that no answer is negative, and above 1, so that every operation
changes something."""

_FACTS = (Fact.PRICE, Fact.WEIGHT, Fact.WEIGHT)
"""Whoever reads the price every time is right in a third of the questions, and has something to learn."""

_EXPRESSION = re.compile(r"\s*([0-9]{1,9})\s*([-+*])\s*([0-9]{1,9})\s*")


class Operator(StrEnum):
    """An operation, by its sign in an expression."""

    PLUS = "+"
    MINUS = "-"
    TIMES = "*"

    def apply(self, left: int, right: int) -> int:
        return _FUNCTIONS[self](left, right)


_FUNCTIONS: dict[Operator, Callable[[int, int], int]] = {
    Operator.PLUS: operator.add,
    Operator.MINUS: operator.sub,
    Operator.TIMES: operator.mul,
}


def evaluate(expression: str) -> int:
    """The value of exactly one operation on two whole numbers of at most nine digits.

    Raises:
        ValueError: for anything else.

    >>> evaluate("34*3"), evaluate("34 - 3")
    (102, 31)
    """
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ValueError("expected one operation (+, - or *) on two whole numbers of at most 9 digits, such as 34*3")
    return Operator(match[2]).apply(int(match[1]), int(match[3]))


@dataclass(frozen=True, slots=True)
class Question:
    """Such as "lamp price * 3": which number is wanted, and what to do with it.

    The number itself is not known before an episode draws its catalogue.
    """

    item: str
    fact: Fact
    operation: Operator
    operand: int

    @classmethod
    def draw(cls, rng: random.Random) -> Question:
        """A question; two in three are about a weight."""
        return cls(rng.choice(ITEMS), rng.choice(_FACTS), rng.choice(tuple(Operator)), rng.choice(OPERANDS))

    @property
    def text(self) -> str:
        """
        >>> Question("lamp", Fact.PRICE, Operator.TIMES, 3).text
        'lamp price * 3'
        """
        return f"{self.item} {self.fact} {self.operation} {self.operand}"

    def answer(self, value: int) -> int:
        """What is asked for, where the page says this value."""
        return self.operation.apply(value, self.operand)

    def expression(self, value: int) -> str:
        """The calculator call that works it out."""
        return f"{value}{self.operation}{self.operand}"

    def task(self) -> Task:
        """The question as a row; its id and split are filled in by the task source."""
        data = {
            "item": self.item,
            "fact": self.fact.value,
            "operation": self.operation.value,
            "operand": self.operand,
        }
        return Task("", (user(self.text),), None, data)

    @classmethod
    def of(cls, task: Task) -> Question:
        """The question that `task()` made the row from."""
        data = task.data
        return cls(data["item"], Fact(data["fact"]), Operator(data["operation"]), data["operand"])
