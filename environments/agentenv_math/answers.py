r"""Finding the answer in a reply.

What is accepted, first that applies:

1. the last `\boxed{…}`;
2. what follows the last `####` on its line, as in GSM8K;
3. what follows the last "answer is" or "answer:" on its line;
4. with none of these, the only number of the last line, or the only one after the line's last `=`.

Why not simply the last number: a reply that lists every number would then contain the right one, and a reply that
repeats the question would often end in one of its numbers. So a claim must be one value ("17 or 18" is none); a reply
may change its mind, but one with more than `MAX_CLAIMS` different claims of the winning kind is a list; and without a
marker neither a question nor a column of bare numbers counts.

Every pattern here takes time linear in the reply's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

MAX_CLAIMS = 3
"""A reply with more different marked answers than this names candidates instead of answering."""

MAX_LENGTH = 200
"""Characters of an answer; a longer one is none."""

_NUMBER = re.compile(
    r"(?<![\w.])[-−]?(?:(?:\d{1,3}(?:,\d{3})++|\d++)(?:\.\d++)?|\.\d++)(?!\w|\.\d)", re.ASCII
)  # "1e5", "1.2.3" and "18x" hold none
_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_HASHES = re.compile(r"####([^\n]*)")
_ANSWER_IS = re.compile(r"\banswer(?:\s{1,3}is\b|\s?:)[:\s]{0,3}([^\n]*)", re.IGNORECASE)
_ASSIGNED = re.compile(r"^[A-Za-z]\w{0,9}\s*=(?!=)")
_NOT_PLAIN = re.compile(r"[\\^*/+=<>!√{}\[\]()]")

_SIGN = r"(?P<sign>[-−+]?)"
_INTEGER = r"\d{1,3}(?:,\d{3})+|\d+"
_DECIMAL = re.compile(rf"{_SIGN}(?P<whole>{_INTEGER})?(?P<part>\.\d+)?", re.ASCII)
_FRACTION = re.compile(
    rf"{_SIGN}(?:\\[dt]?frac\{{(?P<top>-?\d+)\}}\{{(?P<bottom>\d+)\}}|(?P<over>\d+)/(?P<under>\d+))", re.ASCII
)


def extract(reply: str) -> str | None:
    r"""The one answer a reply gives, as text, or `None`.

    >>> extract("First 17, no: \\boxed{18}"), extract("That makes 9 * 2 = 18 dollars."), extract("17 or 18")
    ('18', '18', None)
    """
    for find in (_boxes, _after_hashes, _after_answer_is):
        different: set[Fraction | str] = set()
        last: str | None = None
        for last in find(reply):
            different.add(parse_number(last) or last)
            if len(different) > MAX_CLAIMS:
                return None
        if last is not None:
            return last or None
    return _unmarked(reply)


def parse_number(text: str) -> Fraction | None:
    r"""The exact value of a literal: an integer, a decimal, or a fraction; `None` for anything else.

    >>> parse_number("1,234.50"), parse_number(r"-\frac{1}{3}"), parse_number("2+2")
    (Fraction(2469, 2), Fraction(-1, 3), None)
    """
    text = text.strip().strip("$").strip().removeprefix("\\$").removesuffix(".").strip()
    if len(text) > MAX_LENGTH:
        return None
    if match := _FRACTION.fullmatch(text):
        top, bottom = int(match["top"] or match["over"]), int(match["bottom"] or match["under"])
        value = Fraction(top, bottom) if bottom else None
    elif (match := _DECIMAL.fullmatch(text)) and (match["whole"] or match["part"]):
        value = Fraction((match["whole"] or "0").replace(",", "") + (match["part"] or ""))
    else:
        return None
    return -value if value is not None and match["sign"] in ("-", "−") else value


def _boxes(reply: str) -> Iterator[str]:
    for box in _BOX.finditer(reply):
        yield _value(_balanced(reply, box.end()))


def _after_hashes(reply: str) -> Iterator[str]:
    for match in _HASHES.finditer(reply):
        yield _value(match[1])


def _after_answer_is(reply: str) -> Iterator[str]:
    for match in _ANSWER_IS.finditer(reply):
        yield _value(match[1])


def _unmarked(reply: str) -> str | None:
    lines = [line.strip() for line in reply[-20 * MAX_LENGTH :].split("\n") if line.strip()]
    if not lines or lines[-1].endswith("?"):
        return None
    if sum(parse_number(line) is not None for line in lines) > 1:
        return None
    numbers = set(_NUMBER.findall(lines[-1].rsplit("=", 1)[-1]))
    return numbers.pop() if len(numbers) == 1 else None


def _value(claim: str) -> str:
    """A claim without its wrapping; `""` when it is too long to be one. Words around a lone number are dropped."""
    claim = claim.replace("**", "").replace("`", "").strip()
    claim = _ASSIGNED.sub("", claim).strip().removesuffix(".").strip().strip("$").strip()
    if len(claim) > MAX_LENGTH:
        return ""
    numbers = set(_NUMBER.findall(claim))
    return numbers.pop() if len(numbers) == 1 and not _NOT_PLAIN.search(claim) else claim


def _balanced(reply: str, start: int) -> str:
    """The text from `start` to the brace that closes it; too long to be an answer when there is none near."""
    depth = 1
    for position in range(start, min(start + MAX_LENGTH + 1, len(reply))):
        depth += {"{": 1, "}": -1}.get(reply[position], 0)
        if depth == 0:
            return reply[start:position]
    return "x" * (MAX_LENGTH + 1)
