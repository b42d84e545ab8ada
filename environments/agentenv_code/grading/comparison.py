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
    except (ValueError, RecursionError) as error:
        raise MalformedError(str(error)) from error
    if _deeper(wire, _MOST_LEVELS):
        raise MalformedError("nested too deeply")
    return wire


def normal(wire: Wire) -> Wire:
    """The same value with the members of sets and dictionaries in an order that equal values share."""
    return _normal(wire)[0]


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


def _normal(wire: Wire) -> tuple[Wire, str]:
    """A normal value, and a text by which it is put in order: made of those of its members, so that it costs little."""
    if isinstance(wire, list):
        return _joined([_normal(one) for one in wire])
    if not isinstance(wire, dict):
        return wire, json.dumps(wire)
    members = {key: _member(key, value) for key, value in wire.items()}
    text = ",".join(sorted(f"{key!r}:{text}" for key, (_, text) in members.items()))
    return {key: value for key, (value, _) in members.items()}, f"{{{text}}}"


def _member(key: str, value: Wire) -> tuple[Wire, str]:
    if key in ("$set", "$dict") and isinstance(value, list):
        return _joined(sorted(map(_normal, value), key=lambda one: one[1]))
    return _normal(value)


def _joined(members: list[tuple[Wire, str]]) -> tuple[Wire, str]:
    return [value for value, _ in members], f"[{','.join(text for _, text in members)}]"


def _deeper(wire: Wire, levels: int) -> bool:
    if not isinstance(wire, list | dict):
        return False
    return not levels or any(_deeper(one, levels - 1) for one in (wire if isinstance(wire, list) else wire.values()))


def _close(value: float, expected: float, tolerance: float) -> bool:
    try:
        return math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer no float can hold
        return value == expected


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
