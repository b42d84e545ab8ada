"""Durations for people: "1h 05m 07s"."""

import math
import re

from stopwatch.units import UNITS

_TEXT = re.compile(r"(-?)" + "".join(rf"(?:(\d+){name}\s*)?" for name, _ in UNITS), re.ASCII)


def format_seconds(seconds):
    """Days, hours, minutes and seconds, from the first that is not zero; rounded to whole seconds.

    All but the first have two digits.
    """
    left = math.floor(abs(seconds) + 0.5)
    sign = "-" if seconds < 0 and left else ""
    parts = []
    for name, size in UNITS:
        count, left = divmod(left, size)
        if count or parts or name == "s":
            parts.append(f"{count:02d}{name}" if parts else f"{count}{name}")
    return sign + " ".join(parts)


def parse_seconds(text):
    """The seconds of a text that `format_seconds` might have written.

    Raises:
        ValueError: for any other text.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or not any(match.groups()[1:]):
        raise ValueError(f"{text!r} is no duration")
    total = sum(int(count or 0) * size for count, (_, size) in zip(match.groups()[1:], UNITS))
    return -total if match[1] else total
