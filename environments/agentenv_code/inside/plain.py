"""Plain data as JSON: what may cross between a program and whoever judges it.

JSON's own values stand for themselves; what JSON lacks is an object with one key that begins with a dollar sign:

    {"$tuple": [1, 2]}  {"$set": [1, 2]}  {"$dict": [[1, "one"]]}  {"$bytes": "6869"}  {"$int": "0x…"}
    {"$float": "inf"}   {"$complex": [0.0, 1.0]}

The exact type counts: what only derives from a number or a text may behave in any way it likes, and is not plain.
"""

from __future__ import annotations

import collections
import math
from typing import Any

Wire = Any
"""A JSON value as above."""

MOST_DEPTH = 50
_LARGE_BITS = 4096
"""Python refuses to write larger numbers in decimal; hexadecimal costs nothing."""
_DICTS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)


class UnplainError(Exception):
    """A value that is no plain data."""


def encode(value: object, depth: int = MOST_DEPTH) -> Wire:
    """The JSON of a plain value.

    Raises:
        UnplainError: it is none, or is nested too deeply (as what contains itself is).

    >>> encode({"a": (1, 2.5)})
    {'a': {'$tuple': [1, 2.5]}}
    """
    if depth < 0:
        raise UnplainError(f"a value nested more than {MOST_DEPTH} deep")
    kind: type = type(value)
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    if kind is list:
        return _encoded(value, depth)
    if kind is tuple:
        return {"$tuple": _encoded(value, depth)}
    if kind in (set, frozenset):
        return {"$set": _encoded(value, depth)}
    if kind in _DICTS:
        pairs = [_encoded(pair, depth) for pair in value.items()]  # type: ignore[attr-defined]
        if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
            return dict(pairs)
        return {"$dict": pairs}
    raise UnplainError(f"a value of type {kind.__name__}, which is no plain data")


def decode(wire: Wire) -> Any:
    """The value that `encode` wrote.

    Raises:
        UnplainError: this is nothing that `encode` writes.

    >>> decode({"$dict": [[{"$tuple": [1]}, {"$set": [2]}]]})
    {(1,): {2}}
    """
    if isinstance(wire, list):
        return [decode(one) for one in wire]
    if not isinstance(wire, dict):
        return wire
    tag = next(iter(wire)) if len(wire) == 1 else ""
    if not tag.startswith("$"):
        return {key: decode(one) for key, one in wire.items()}
    try:
        return _DECODERS[tag](wire[tag])
    except (KeyError, TypeError, ValueError) as error:
        raise UnplainError(f"{tag} is followed by what does not belong there") from error


def _encoded(values: Any, depth: int) -> list[Wire]:
    return [encode(one, depth - 1) for one in values]


def _itself(value: Any) -> Wire:
    return value


_SCALARS: dict[type, Any] = {
    type(None): _itself,
    bool: _itself,
    str: _itself,
    int: lambda value: value if value.bit_length() <= _LARGE_BITS else {"$int": hex(value)},
    float: lambda value: value if math.isfinite(value) else {"$float": repr(value)},
    bytes: lambda value: {"$bytes": value.hex()},
    complex: lambda value: {"$complex": [encode(value.real), encode(value.imag)]},
}
_DECODERS: dict[str, Any] = {
    "$tuple": lambda wire: tuple(map(decode, wire)),
    "$set": lambda wire: set(map(decode, wire)),
    "$dict": lambda wire: {decode(key): decode(value) for key, value in wire},
    "$int": lambda wire: int(wire, 16),
    "$float": float,
    "$bytes": bytes.fromhex,
    "$complex": lambda wire: complex(*map(decode, wire)),
}
