"""Grading: exact where both sides are literals, by meaning in an isolated process where they are not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from agentenv.errors import MissingExtraError, VerifierError
from agentenv.processes import preload, run_isolated
from agentenv_math.answers import extract, parse_number

_EQUIVALENT = "agentenv_math.equivalence:equivalent"
TIMEOUT = 5.0
"""Seconds one comparison may take; an honest answer takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a reply is worth.

    Attributes:
        answer: the answer found in it, if any.
        killed: the answer made the grader hang or crash; it counts as wrong.
    """

    correct: bool
    answer: str | None = None
    killed: bool = False


def require_math_verify() -> None:
    """Raises `MissingExtraError` where `math-verify` is missing, and has the workers import it ahead of time."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtraError("grading answers by meaning", "math")
    preload("agentenv_math.equivalence")


async def grade(reply: str, gold: str, *, literal: bool = False, timeout: float = TIMEOUT) -> Grade:
    """Grades a reply against the right answer.

    Args:
        reply: everything the policy said.
        gold: the right answer, as LaTeX or a literal.
        literal: accept a worked-out number only; an expression that means the same is wrong.
        timeout: seconds for a comparison by meaning.

    A reply whose answer hangs or crashes the grader is *wrong*, for otherwise such text would be a way out of a bad
    score. To tell it from a broken grader, the gold answer is then compared with itself.

    Raises:
        VerifierError: the grader cannot even do that.
    """
    answer = extract(reply)
    if answer is None:
        return Grade(False)
    value, wanted = parse_number(answer), parse_number(gold)
    if answer == gold or (value is not None and wanted is not None):
        return Grade(answer == gold or value == wanted, answer)
    if literal:
        return Grade(False, answer)
    try:
        return Grade(await run_isolated(_EQUIVALENT, gold, answer, timeout=timeout), answer)
    except Exception as error:
        await _probe(gold, timeout, error)
        return Grade(False, answer, killed=True)


async def _probe(gold: str, timeout: float, suspicion: Exception) -> None:
    """Raises unless the grader works on the gold answer."""
    try:
        works: bool = await run_isolated(_EQUIVALENT, gold, gold, timeout=timeout)
    except Exception as error:
        raise VerifierError(f"math-verify cannot compare the answer {gold!r} with itself: {error}") from error
    if not works:
        raise VerifierError(f"math-verify finds the answer {gold!r} unequal to itself") from suspicion
