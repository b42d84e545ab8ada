"""`tools/calculator-v0`: an expression that is too long to work out by heart."""

from __future__ import annotations

import random
from typing import ClassVar

from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import CalculatorWorld
from agentenv_tools.worlds.arithmetic import evaluate, written


class CalculatorErrands(GoalEnv):
    """Expressions and sums of money. The answer is a number, and it is all that is paid for."""

    worlds: ClassVar[tuple[str, ...]] = (CalculatorWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief:
        return rng.choice((_expression, _purchase, _savings))(rng)


def _expression(rng: random.Random) -> Brief:
    a, b, c, d = (rng.randint(101, 9_999) for _ in range(4))
    power, divisor = rng.randint(2, 4), rng.randint(3, 97)
    expression = f"(({a} * {b} - {c}) * {d} + {divisor} ** {power}) % {rng.randint(10_000, 99_999)}"
    question = f"What is {expression}? Here ** raises to a power and % is the remainder of a division."
    return _asked("expression", question, expression)


def _purchase(rng: random.Random) -> Brief:
    counts = [rng.randint(11, 400) for _ in range(4)]
    prices = [rng.randint(3, 250) for _ in range(4)]
    listed = ", ".join(f"{count} at {price} each" for count, price in zip(counts, prices, strict=True))
    shipping = rng.randint(20, 300)
    expression = " + ".join(f"{count} * {price}" for count, price in zip(counts, prices, strict=True))
    question = f"Somebody buys {listed}, and pays {shipping} for the delivery. What does it cost altogether?"
    return _asked("purchase", question, f"{expression} + {shipping}")


def _savings(rng: random.Random) -> Brief:
    start, rate, years = rng.randint(500, 20_000), rng.randint(2, 9), rng.randint(4, 15)
    question = (
        f"{start} are saved for {years} years; every year the amount grows by {rate} percent. What is it then, rounded "
        "to two decimals?"
    )
    return _asked("savings", question, f"round({start} * 1.{rate:02} ** {years}, 2)")


def _asked(kind: str, question: str, expression: str) -> Brief:
    return Brief(kind, question, ((Call("calculate", {"expression": expression}),),), written(evaluate(expression)))
