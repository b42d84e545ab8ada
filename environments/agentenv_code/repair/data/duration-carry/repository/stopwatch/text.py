"""Durations for people: "1h 05m 07s"."""

import re

from stopwatch.units import UNITS

_PART = re.compile(r"(\d+)([dhms])")


def format_seconds(seconds):
    """Days, hours, minutes and seconds, from the first that is not zero; rounded to whole seconds.

    All but the first have two digits.
    """
    parts = []
    for name, size in UNITS:
        count = seconds // size
        seconds -= count * size
        if count or parts or name == "s":
            parts.append(f"{round(count):02d}{name}" if parts else f"{round(count)}{name}")
    return " ".join(parts)


def parse_seconds(text):
    """The seconds of a text that `format_seconds` might have written."""
    sizes = dict(UNITS)
    return sum(int(count) * sizes[unit] for count, unit in _PART.findall(text))
