"""The last words of an episode: `DONE`, or an answer with its sources.

    ANSWER: Velden
    SOURCES: doc-017, doc-203

A reply that gives several different answers gives none: otherwise a list of everything would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 200
"""Characters of an answer; a longer one is none."""

_DONE = re.compile(r"^[ \t*`]*DONE[ \t*`.!]*$", re.MULTILINE)
_ANSWER = re.compile(r"^[ \t*`]*ANSWER:(?:[ \t*`]*)([^\n]*)$", re.MULTILINE)
_SOURCES = re.compile(r"^[ \t*`]*SOURCES:([^\n]*)$", re.MULTILINE)
_SEPARATORS = re.compile(r"[\s,;]+")
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Report:
    """What a reply says. `answers` are the different ones, in their canonical form."""

    done: bool
    answers: frozenset[str]
    sources: frozenset[str]

    @classmethod
    def of(cls, reply: str) -> Report:
        """Reads a reply.

        >>> Report.of("So:\\nANSWER: 1,200\\nSOURCES: a, b").answers
        frozenset({'1200'})
        """
        answers = frozenset(canonical(answer) for answer in _ANSWER.findall(reply))
        cited = frozenset(
            source.strip("[]()`*.") for line in _SOURCES.findall(reply) for source in _SEPARATORS.split(line)
        )
        return cls(_DONE.search(reply) is not None, answers, cited - {""})

    def ends(self, *, asked: bool) -> bool:
        """Whether it ends the episode: with an answer where a question is `asked`, with `DONE` where none is."""
        return bool(self.answers) if asked else self.done

    def answers_with(self, wanted: str | int) -> bool:
        """Whether it gives this answer and no other."""
        return self.answers == {canonical(str(wanted))}


def canonical(answer: str) -> str:
    """The form in which spellings of one answer agree.

    >>> canonical(" 3,200.50 "), canonical("Ann  Berg.")
    ('6401/2', 'ann berg')
    """
    text = " ".join(answer.strip(" \t*`").split()).removesuffix(".").strip()
    if len(text) > MAX_LENGTH:
        return ""
    if _NUMBER.fullmatch(text):
        return str(Fraction(text.replace(",", "").replace("−", "-")))
    return text.casefold()


def citation_score(cited: frozenset[str], wanted: frozenset[str]) -> float:
    """How well the cited documents are those that were wanted: the harmonic mean of precision and recall.

    >>> citation_score(frozenset({"a", "b"}), frozenset({"a"}))
    0.6666666666666666
    """
    right = len(cited & wanted)
    return 2 * right / (len(cited) + len(wanted)) if right else 0.0
