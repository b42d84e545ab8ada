"""`code/one_liners-v0`: endless tiny functions, for tiny policies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.errors import ConfigError
from agentenv.messages import Message, assistant, user
from agentenv.tasks import ProceduralTasks, Task, TaskSet
from agentenv_code.synthesis.env import Synthesis

MAX_LEVEL = 5
MAX_OPERAND = 9
_WORDS = {
    "+": ("add {}", "plus {}"),
    "-": ("subtract {}", "minus {}"),
    "*": ("multiply by {}", "times {}"),
}
_OPENINGS = ("Write f(x): ", "f(x): ", "f of x: ")
HEAD = "def f(x): return "
_INPUTS = range(-20, 100)
_PUBLIC, _HIDDEN = 2, 6


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to x, one step after the other: pairs of a sign and a number."""

    steps: tuple[tuple[str, int], ...]

    @classmethod
    def draw(cls, rng: random.Random, level: int) -> Recipe:
        """Numbers begin at 2, so that no step can be left out unnoticed."""
        return cls(tuple((rng.choice("+-*"), rng.randint(2, MAX_OPERAND)) for _ in range(level)))

    def question(self, rng: random.Random) -> str:
        """In words, of which there are several."""
        return rng.choice(_OPENINGS) + ", then ".join(
            rng.choice(_WORDS[sign]).format(number) for sign, number in self.steps
        )

    @property
    def expression(self) -> str:
        """
        >>> Recipe((("+", 2), ("*", 3))).expression
        '(x + 2) * 3'
        """
        text, sums = "x", False
        for sign, number in self.steps:
            text = f"({text}) * {number}" if sign == "*" and sums else f"{text} {sign} {number}"
            sums = sign != "*"
        return text

    def __call__(self, x: int) -> int:
        for sign, number in self.steps:
            x = x * number if sign == "*" else x + number if sign == "+" else x - number
        return x

    def task(self, rng: random.Random) -> Task:
        """As a row; its id and split are filled in by the task source."""
        cases = [{"args": [x], "returns": self(x)} for x in rng.sample(_INPUTS, _PUBLIC + _HIDDEN)]
        # Plain values: of the candidates that are drawn for a split, most are thrown away.
        tests = {"kind": "function", "name": "f", "public": cases[:_PUBLIC], "hidden": cases[_PUBLIC:]}
        data = {"tests": tests, "steps": [list(step) for step in self.steps]}
        return Task("", (user(self.question(rng)),), f"{HEAD}{self.expression}", data)


class OneLiners(Synthesis):
    """Functions such as "Write f(x): times 3, then plus 2", to be answered by one line of Python.

    Nothing but the line is needed: "def f(x): return x * 3 + 2", with or without a fence. The words are few, the
    numbers have one digit, and the public tests are only shown as feedback.

    Args:
        level: how many steps: one number, or (lowest, highest) to draw from uniformly.
        seed: another seed is another stream of tasks over the same splits.
        attempts, decay, partial, sandbox, sandbox_options, limits, call_seconds, system_prompt: as in `Synthesis`.
    """

    def __init__(
        self,
        level: int | Sequence[int] = (1, 2),
        seed: int = 0,
        attempts: int = 1,
        decay: float = 0.5,
        partial: float = 0.0,
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        call_seconds: float = 3.0,
        system_prompt: str = "",
    ) -> None:
        super().__init__(
            attempts=attempts,
            decay=decay,
            partial=partial,
            sandbox=sandbox,
            sandbox_options=sandbox_options,
            limits=limits,
            call_seconds=call_seconds,
            system_prompt=system_prompt,
        )
        low, high = (level, level) if isinstance(level, int) else tuple(level)
        if not 1 <= low <= high <= MAX_LEVEL:
            raise ConfigError(f"level must be a number or a rising pair between 1 and {MAX_LEVEL}, got {level!r}")
        self._low, self._high = low, high
        self._task_seed = seed

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(self._draw, split=split, seed=self._task_seed)

    def _draw(self, rng: random.Random) -> Task:
        return Recipe.draw(rng, rng.randint(self._low, self._high)).task(rng)

    def oracle(self) -> Message:
        return assistant(str(self.task.answer))
