"""Comparing what a program sent with what is expected, without ever making a value of it.

Both sides stay JSON (see `agentenv_code.inside.plain`). Nothing is hashed, called or evaluated, so that there is no
method to override and no collision to provoke.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from agentenv_code.inside.plain import MOST_DEPTH, Wire

_MOST_SHOWN = 200
_MOST_LEVELS = 3 * MOST_DEPTH


class MalformedError(Exception):
    """Bytes that are not the JSON of plain data."""


def parse(data: bytes) -> Wire:
    """The JSON value of bytes that come out of a sandbox.

    Raises:
        MalformedError: they are none, or it is nested too deeply.
    """
    try:
        wire = json.loads(data, parse_constant=_refuse)
        normal(wire)
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from error
    return wire


def normal(wire: Wire, levels: int = _MOST_LEVELS) -> Wire:
    """The same value with the members of sets and dictionaries in an order that does not depend on how they were made.

    Raises:
        ValueError: it is nested more than so many levels deep.
    """
    if levels < 0:
        raise ValueError("nested too deeply")
    if isinstance(wire, list):
        return [normal(one, levels - 1) for one in wire]
    if isinstance(wire, dict):
        return {key: _in_order(key, normal(value, levels - 1)) for key, value in wire.items()}
    return wire


def same(value: Wire, expected: Wire, tolerance: float = 0.0) -> bool:
    """Whether a value is the one that is expected, types included: 1, 1.0 and True are three values.

    Both are normal.

    Args:
        tolerance: numbers that differ by no more, absolutely or relative to the larger, are equal, integers and
            floats too.

    >>> same([1, 2], [1, 2]), same([1], {"$tuple": [1]}), same(1, True), same(0.1 + 0.2, 0.3, 1e-9)
    (True, False, False, True)
    """
    if tolerance and type(value) in (int, float) and type(expected) in (int, float):
        return _close(value, expected, tolerance)
    if type(value) is not type(expected):
        return False
    if isinstance(value, list):
        pairs = zip(value, expected, strict=False)
        return len(value) == len(expected) and all(same(one, other, tolerance) for one, other in pairs)
    if isinstance(value, dict):
        return value.keys() == expected.keys() and all(same(value[key], expected[key], tolerance) for key in value)
    return bool(value == expected)


def show(wire: Wire) -> str:
    """A value as Python writes it, cut where it is long.

    >>> show({"$tuple": [1, {"$set": ["a"]}]})
    "(1, {'a'})"
    """
    text = _shown(wire)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _shown(wire: Wire) -> str:
    if isinstance(wire, list):
        return f"[{_listed(wire)}]"
    if not isinstance(wire, dict):
        return repr(wire)
    match wire:
        case {"$tuple": list(members)}:
            return f"({_listed(members)}{',' if len(members) == 1 else ''})"
        case {"$set": list(members)}:
            return f"{{{_listed(members)}}}" if members else "set()"
        case {"$dict": list(pairs)}:
            return "{" + ", ".join(": ".join(map(_shown, pair)) for pair in pairs) + "}"
        case {"$bytes": str(digits)}:
            return f"bytes.fromhex({digits!r})"
        case {"$int": str(digits)}:
            return digits
        case {"$float": str(text)}:
            return f"float({text!r})"
        case {"$complex": list(parts)}:
            return f"complex({_listed(parts)})"
    return "{" + ", ".join(f"{key!r}: {_shown(value)}" for key, value in wire.items()) + "}"


def _listed(members: list[Wire]) -> str:
    return ", ".join(map(_shown, members))


def _in_order(key: str, value: Wire) -> Wire:
    unordered = key in ("$set", "$dict") and isinstance(value, list)
    return sorted(value, key=lambda one: json.dumps(one, sort_keys=True)) if unordered else value


def _close(value: float, expected: float, tolerance: float) -> bool:
    try:
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer no float can hold
        return value == expected


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
