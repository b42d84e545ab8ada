"""BFCL's rules for single turns: whether calls are among the allowed ones.

An allowed call names for each of its parameters the values that are right; `""` among them means that the parameter
may be left out. Types are held to the function's description (an integer will do for a float, nothing else is
converted), and texts are compared without case, spaces and the signs `,./-_*^`. A parameter whose allowed values are of
another type than the described one is a variable's name or the like, and compared as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv_bfcl.functions import tool_name

Allowed = Mapping[str, Mapping[str, Sequence[Any]]]
"""One function's name, and its parameters with the values that are right."""

OPTIONAL = ""
"""Among the allowed values: the parameter may be left out."""

_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class Call:
    """A call as a policy made it."""

    name: str
    arguments: Mapping[str, Any]


def mismatch(functions: Sequence[Mapping[str, Any]], calls: Sequence[Call], allowed: Sequence[Allowed]) -> str | None:
    """Why these calls are not the allowed ones, in any order, or `None` when they are.

    Args:
        functions: BFCL's descriptions of the functions on offer.
        calls: what was called.
        allowed: one for each call that is due.
    """
    if len(calls) != len(allowed):
        return f"{len(calls)} calls where {len(allowed)} are due"
    described = {function["name"]: function for function in functions}
    left = list(calls)
    for due in allowed:
        ((name, parameters),) = due.items()
        reasons = []
        for call in left:
            reason = _of_call(described[name], call, parameters)
            if reason is None:
                left.remove(call)
                break
            reasons.append(reason)
        else:
            return f"{name}: " + "; or ".join(reasons)
    return None


def _of_call(function: Mapping[str, Any], call: Call, allowed: Mapping[str, Sequence[Any]]) -> str | None:
    if call.name != tool_name(function["name"]):
        return f"{call.name} is called"
    described = function["parameters"]["properties"]
    for name in function["parameters"].get("required", ()):
        if name not in call.arguments:
            return f"{name} is missing"
    for name, value in call.arguments.items():
        if name not in described or name not in allowed:
            return f"{name} is not asked for"
        if not _fits(described[name], value, allowed[name]):
            return f"{name} is {value!r:.80}"
    for name, values in allowed.items():
        if name not in call.arguments and OPTIONAL not in values:
            return f"{name} is left out"
    return None


def _fits(described: Mapping[str, Any], value: Any, allowed: Sequence[Any]) -> bool:
    """Whether an argument has the right type, and is one of the allowed values."""
    expected = _TYPES[described["type"]]
    items = described.get("items", {}).get("type") if expected is list else None
    inner = None if items is None else _TYPES[items]
    if described["type"] == "float" and type(value) is int:
        value = float(value)
    usual = _type_of(allowed)
    if type(value) is expected:
        if inner is not None and not any(_items_fit(value, option, inner) for option in allowed):
            return False
        as_it_is = usual is not None and usual is not expected
    elif type(value) is usual:
        as_it_is = True
    else:
        return False
    return value in allowed if as_it_is else _is_allowed(value, allowed, inner)


def _type_of(allowed: Sequence[Any]) -> type | None:
    """The type of the first allowed value."""
    return next((type(option) for option in allowed if option != OPTIONAL), None)


def _items_fit(values: Any, option: Any, inner: type) -> bool:
    if not isinstance(option, list):
        return True
    usual = _type_of(option)
    return all(type(value) is inner or type(value) is usual for value in values)


def _is_allowed(value: Any, allowed: Sequence[Any], inner: type | None) -> bool:
    if isinstance(value, str):
        return _plain(value) in [_plain(option) for option in allowed if isinstance(option, str)]
    if isinstance(value, dict):
        return any(_is_object(value, option) for option in allowed if option != OPTIONAL)
    if isinstance(value, list) and inner is dict:
        return any(
            len(value) == len(option) and all(map(_is_object, value, option))
            for option in allowed
            if isinstance(option, list | str)
        )
    if isinstance(value, list):
        return [_plain(item) for item in value] in [[_plain(item) for item in option] for option in allowed]
    return value in allowed


def _is_object(value: Any, option: Any) -> bool:
    """Whether each entry is one of those allowed for its key, and none that is due is missing."""
    if not isinstance(value, dict) or not isinstance(option, Mapping):
        return False
    for key, entry in value.items():
        if key not in option or _plain(entry) not in [_plain(allowed) for allowed in option[key]]:
            return False
    return all(key in value or OPTIONAL in allowed for key, allowed in option.items())


def _plain(value: Any) -> Any:
    """A text without what does not count in it; anything else as it is."""
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
