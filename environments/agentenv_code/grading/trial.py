"""The attacks of `agentenv_code.grading.attacks`, tried on every kind of grader.

There are four: calls of the function, a test program that calls `check`, one with classes of `unittest`, and runs of
the whole program, which is to read x and print its square.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from agentenv.sandbox import MIB, Limits, SandboxBackend
from agentenv_code.grading.attacks import ATTACKS, Attack
from agentenv_code.grading.cases import Exam, FunctionCase, FunctionTests, ProgramCase, ProgramTests, Tests
from agentenv_code.grading.grader import Grader
from agentenv_code.grading.verdict import Verdict

LIMITS = Limits(
    wall_seconds=5.0,
    cpu_seconds=5.0,
    memory_bytes=128 * MIB,
    pids=16,
    output_bytes=MIB // 4,
    disk_bytes=4 * MIB,
    files=100,
)
CALL_SECONDS = 1.0

_INPUTS = (7, 12, -4, 31)
_CHECK = "def check(candidate):\n" + "".join(f"    assert candidate({x}) == {x * x}, candidate({x})\n" for x in _INPUTS)
_UNITTEST = "import unittest\n\n\nclass TestSolve(unittest.TestCase):\n" + "".join(
    f"    def test_{place}(self):\n        self.assertEqual(solve({x}), {x * x})\n" for place, x in enumerate(_INPUTS)
)
GRADERS: dict[str, Tests] = {
    "calls": FunctionTests(name="solve", hidden=tuple(FunctionCase(args=(x,), returns=x * x) for x in _INPUTS)),
    "check": Exam(name="solve", program=_CHECK),
    "unittest": Exam(name="solve", program=_UNITTEST),
    "program": ProgramTests(hidden=tuple(ProgramCase(stdin=f"{x}\n", stdout=f"{x * x}\n") for x in _INPUTS)),
}
"""What every attack is tried on, by name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack, by grader."""

    attack: Attack
    verdicts: dict[str, Verdict]

    @property
    def withstood(self) -> bool:
        """Whether nobody paid, and those who must notice it did."""
        noticed = [verdict.tampering for name, verdict in self.verdicts.items() if name != "program"]
        label = self.attack.label
        return not any(verdict.fraction for verdict in self.verdicts.values()) and (
            label is None or all(label in labels for labels in noticed)
        )

    @property
    def labels(self) -> list[str]:
        return sorted({str(label) for verdict in self.verdicts.values() for label in verdict.tampering})


async def attack(backend: SandboxBackend, attacks: Sequence[Attack] = ATTACKS) -> AsyncIterator[Outcome]:
    """Tries each attack on each grader, and says what came of it."""
    for one in attacks:
        yield await attempt(backend, one)


async def attempt(backend: SandboxBackend, one: Attack, call_seconds: float = CALL_SECONDS) -> Outcome:
    """Tries one attack on each grader.

    Args:
        call_seconds: for loading the program, and for each call or run; slow backends need more.

    Raises:
        SandboxFailed, VerifierError: the attack has broken the grader, so that it would go unpunished.
    """
    grader = Grader(backend, LIMITS, call_seconds)
    return Outcome(one, {name: await grader.grade(one.code, tests) for name, tests in GRADERS.items()})
