"""What runs in the worker processes: equality of mathematical answers by meaning. Nothing else imports this."""

from __future__ import annotations

import logging
import re

from math_verify import LatexExtractionConfig, parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off, as meant

_LATEX = (LatexExtractionConfig(),)
_SIDE_BY_SIDE = re.compile(r"\d\s+\d")


def equivalent(gold: str, answer: str) -> bool:
    r"""Whether `answer` is one number and means the same as `gold`, by `math-verify`.

    Its own time limits are signals, which C code does not notice; they are off, since this process can be killed.
    "9 9" is refused beforehand: it would be read as a mixed number, 9 + 9.

    >>> equivalent("18", r"3\sqrt{36}"), equivalent("18", "17, 18")
    (True, False)
    """
    if _SIDE_BY_SIDE.search(answer):
        return False
    wanted, given = (
        parse(f"\\boxed{{{text}}}", extraction_config=_LATEX, fallback_mode="no_fallback", parsing_timeout=None)
        for text in (gold, answer)
    )
    if not wanted or len(given) != 1 or not getattr(given[0], "is_number", False):
        return False
    return bool(verify(wanted, given, timeout_seconds=None))
