"""JSON on the hot path: orjson where it is installed (extra `serve`), the standard library for the rest.

An answer with log-probabilities holds a hundred bytes a token; reading it is most of what the gateway does.
"""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


def loads(raw: bytes | str, *, exact: bool = False) -> Any:
    """Reads JSON. What orjson refuses and Python accepts (NaN, lone surrogates) is read by Python.

    Args:
        exact: leaves integers beyond 64 bits what they are, of which orjson makes floats; costs a look at every value.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    if orjson is not None:
        try:
            value = orjson.loads(raw)
            if not exact or not _holds_huge_floats(value):
                return value
        except (orjson.JSONDecodeError, RecursionError):
            pass
    try:
        return json.loads(raw.decode() if isinstance(raw, bytes) else raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def dumps(value: Any) -> bytes:
    """Writes JSON that came from JSON."""
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:  # integers beyond 64 bits, lone surrogates
            pass
    return json.dumps(value, separators=(",", ":")).encode()


def spelling(arguments: object) -> str:
    """One spelling for all JSON of tool arguments that says the same, given as text or parsed.

    >>> spelling('{"b":1,"a": 2}') == spelling({"a": 2, "b": 1})
    True
    """
    if orjson is not None:
        try:
            parsed = orjson.loads(arguments) if isinstance(arguments, str) else arguments
            if not _holds_floats(parsed):
                return orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS).decode()
        except (ValueError, TypeError, RecursionError):
            pass
    try:  # as text once more, since a model may nest deeper than the encoder of a whole message goes
        return json.dumps(json.loads(arguments) if isinstance(arguments, str) else arguments, sort_keys=True)
    except (ValueError, TypeError, RecursionError):
        return "text " + str(arguments)


def _holds_floats(value: object) -> bool:
    """Whether a number is in JSON that orjson may have read inexactly: it makes floats of integers beyond 64 bits."""
    if isinstance(value, dict):
        return any(map(_holds_floats, value.values()))
    if isinstance(value, list):
        return any(map(_holds_floats, value))
    return isinstance(value, float)


def _holds_huge_floats(value: object) -> bool:
    """Whether a float is in it that an integer beyond 64 bits may have been."""
    if isinstance(value, dict):
        return any(map(_holds_huge_floats, value.values()))
    if isinstance(value, list):
        return any(map(_holds_huge_floats, value))
    return isinstance(value, float) and abs(value) >= 2**63
