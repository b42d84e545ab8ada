"""`math/arithmetic-v0`: expressions to be worked out, endless, in five difficulties."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from agentenv.errors import ConfigError
from agentenv.messages import user
from agentenv.tasks import ProceduralTasks, Task, TaskSet
from agentenv_math.env import MathEnv

SYSTEM_PROMPT = "Work out the expression. End your reply with the answer in \\boxed{}: an integer or a fraction."


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How large an expression is, how large its numbers, and which operations it may have."""

    operations: int
    largest: int
    signs: str


DIFFICULTIES = {
    1: Difficulty(1, 9, "+-"),
    2: Difficulty(1, 99, "+-*"),
    3: Difficulty(2, 99, "+-*"),
    4: Difficulty(3, 99, "+-*"),
    5: Difficulty(4, 999, "+-*/"),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as text and its exact value."""

    text: str
    value: Fraction

    @classmethod
    def draw(cls, rng: random.Random, difficulty: Difficulty, operations: int) -> Expression:
        """A random tree with that many operations; brackets stand around every inner one."""
        if operations == 0:
            number = rng.randint(0, difficulty.largest)
            return cls(str(number), Fraction(number))
        on_the_left = rng.randrange(operations)
        left = cls.draw(rng, difficulty, on_the_left)
        right = cls.draw(rng, difficulty, operations - 1 - on_the_left)
        sign = rng.choice(difficulty.signs if right.value else difficulty.signs.replace("/", ""))
        text = f"{left._bracketed()} {sign} {right._bracketed()}"
        return cls(text, _apply(sign, left.value, right.value))

    def _bracketed(self) -> str:
        return f"({self.text})" if " " in self.text else self.text


def _apply(sign: str, left: Fraction, right: Fraction) -> Fraction:
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right


class Arithmetic(MathEnv):
    """Expressions such as "(12 - 5) * 34", answered in one turn by an integer, a decimal or a fraction.

    Only a worked-out number counts: the question itself, put in a box, would otherwise be right by meaning.

    Args:
        difficulty: 1 (one sum of digits) to 5 (four operations on three digits, fractions among the answers), or
            (lowest, highest) to draw from uniformly.
        system_prompt: sent first when it is not empty.
        seed: another seed is another stream of tasks over the same splits.
    """

    literal = True

    def __init__(
        self, difficulty: int | Sequence[int] = (1, 5), system_prompt: str = SYSTEM_PROMPT, seed: int = 0
    ) -> None:
        super().__init__(system_prompt=system_prompt)
        low, high = (difficulty, difficulty) if isinstance(difficulty, int) else tuple(difficulty)
        if not 1 <= low <= high <= len(DIFFICULTIES):
            raise ConfigError(f"difficulty must be a number or a rising pair between 1 and 5, got {difficulty!r}")
        self._low, self._high = low, high
        self._task_seed = seed

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(self._draw, split=split, seed=self._task_seed)

    def _draw(self, rng: random.Random) -> Task:
        level = rng.randint(self._low, self._high)
        difficulty = DIFFICULTIES[level]
        expression = Expression.draw(rng, difficulty, difficulty.operations)
        return Task("", (user(f"What is {expression.text}?"),), str(expression.value), {"difficulty": level})
