r"""The number that a reply gives as its answer: in `\boxed{…}`, or after `####` as in GSM8K.

A reply that gives several different numbers gives none: otherwise a list of every number would be right.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_LENGTH = 200
"""Characters of an answer; a longer one is none."""

_CLAIM = re.compile(r"\\boxed\s?\{([^{}\n]*)\}|####([^\n]*)")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:/\d+)?", re.ASCII)


def answer_of(reply: str) -> Fraction | None:
    r"""The one number a reply claims, or `None`.

    >>> answer_of("So it is \\boxed{1,234}."), answer_of("#### 0.5"), answer_of("\\boxed{1} or \\boxed{2}")
    (Fraction(1234, 1), Fraction(1, 2), None)
    """
    claims = {parse_number(boxed or hashed) for boxed, hashed in _CLAIM.findall(reply) if boxed or hashed}
    return claims.pop() if len(claims) == 1 else None


def parse_number(text: str) -> Fraction | None:
    """The exact value of an integer, a decimal or a fraction; `None` for anything else.

    >>> parse_number(" $1,200.50 "), parse_number("-3/4"), parse_number("2+2"), parse_number("1/0")
    (Fraction(2401, 2), Fraction(-3, 4), None, None)
    """
    text = text.strip().removesuffix(".").strip("$ ").replace("−", "-")
    if len(text) > MAX_LENGTH or not any(sign.isdigit() for sign in text) or not _NUMBER.fullmatch(text):
        return None
    try:
        top, _, bottom = text.replace(",", "").partition("/")
        return Fraction(top) / Fraction(bottom or "1")
    except (ValueError, ZeroDivisionError):
        return None
