"""`tools/python-v0`: questions that take a program."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, ClassVar

from agentenv.env import Action, StepResult
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.tool_rules import ToolRules
from agentenv_tools.briefs import Brief, Call
from agentenv_tools.env import SYSTEM_PROMPT, GoalEnv
from agentenv_tools.world import Worlds
from agentenv_tools.worlds import PythonWorld


class SandboxedEnv(GoalEnv):
    """A `GoalEnv` that has the world `python` among its worlds.

    A sandbox is made for the first program of an episode, and closed with it.

    Args:
        sandbox: the backend, as in `agentenv list sandboxes`. sandbox_options: what its maker is called with.
        tool_rules, characters, system_prompt, seed: as for every `WorldEnv`.
    """

    def __init__(
        self,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        characters: int = 4_000,
        system_prompt: str = SYSTEM_PROMPT,
        seed: int = 0,
    ) -> None:
        super().__init__(tool_rules, characters, system_prompt, seed)
        self._sandboxes = BorrowedBackend(sandbox, **(sandbox_options or {}))

    def world_options(self) -> Mapping[str, Mapping[str, Any]]:
        return {PythonWorld.name: {"sandboxes": self._sandboxes}}

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        return result._replace(info={**result.info, "isolation": self._sandboxes.isolation})

    async def close(self) -> None:
        await super().close()
        await self._sandboxes.close()


class PythonErrands(SandboxedEnv):
    """Counting, sums over primes, orbits and recurrences. The answer is a number, and it is all that is paid for."""

    worlds: ClassVar[tuple[str, ...]] = (PythonWorld.name,)

    def draw(self, rng: random.Random, worlds: Worlds) -> Brief:
        return rng.choice((_primes, _orbit, _recurrence, _triples))(rng)


def _primes(rng: random.Random) -> Brief:
    limit, step = rng.randint(2_000, 9_000), rng.randint(3, 12)
    rest = rng.choice([rest for rest in range(1, step) if math.gcd(rest, step) == 1])
    found = sum(number for number in range(2, limit) if number % step == rest and _is_prime(number))
    return _asked(
        "primes",
        f"What is the sum of all prime numbers below {limit} that leave the remainder {rest} when divided by {step}?",
        f"prime = lambda n: n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))\n"
        f"print(sum(n for n in range({limit}) if n % {step} == {rest} and prime(n)))",
        found,
    )


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % other for other in range(2, math.isqrt(number) + 1))


def _orbit(rng: random.Random) -> Brief:
    low = rng.randint(100, 5_000)
    high = low + rng.randint(50, 400)
    steps = {number: _halvings(number) for number in range(low, high + 1)}
    return _asked(
        "orbit",
        f"A number is halved where it is even, and otherwise tripled and increased by 1, until it is 1. How many of "
        f"these steps does it take at most for a number from {low} to {high}?",
        "def steps(n):\n    count = 0\n    while n != 1:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n"
        f"        count += 1\n    return count\nprint(max(steps(n) for n in range({low}, {high} + 1)))",
        max(steps.values()),
    )


def _halvings(number: int) -> int:
    count = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        count += 1
    return count


def _recurrence(rng: random.Random) -> Brief:
    first, second, factor, modulus = rng.randint(1, 9), rng.randint(1, 9), rng.randint(2, 9), rng.randint(1_000, 99_999)
    place = rng.randint(60, 900)
    earlier, now = first, second
    for _ in range(place - 2):
        earlier, now = now, (factor * now + earlier) % modulus
    return _asked(
        "recurrence",
        f"A sequence begins with {first} and {second}. Every further term is {factor} times the one before it plus the "
        f"one before that, and of this the remainder when divided by {modulus}. What is its term number {place}, if "
        f"{first} is term number 1?",
        f"a, b = {first}, {second}\nfor _ in range({place} - 2):\n    a, b = b, ({factor} * b + a) % {modulus}\n"
        "print(b)",
        now,
    )


def _triples(rng: random.Random) -> Brief:
    limit = rng.randint(60, 200)
    factor = rng.randint(2, 9)
    squares = {number * number for number in range(1, 4 * limit)}
    found = sum(a * a + factor * b * b in squares for a in range(1, limit + 1) for b in range(1, limit + 1))
    return _asked(
        "triples",
        f"For how many pairs (a, b) of whole numbers from 1 to {limit} is a² + {factor}·b² the square of a whole "
        "number?",
        f"from math import isqrt\nsums = (a * a + {factor} * b * b for a in range(1, {limit} + 1) "
        f"for b in range(1, {limit} + 1))\nprint(sum(isqrt(n) ** 2 == n for n in sums))",
        found,
    )


def _asked(kind: str, question: str, program: str, answer: int) -> Brief:
    return Brief(kind, question, ((Call("python", {"code": program}),),), answer)
