"""What has to be equal between two servers, and what may differ: ids, times, words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.vllm.conformance.client import Json, Reply

TOLERANCE = 1e-4
"""For log-probabilities: rounding in different orders of summation."""

VOLATILE = frozenset({"id", "request_id", "created", "system_fingerprint", "root", "message", "last_tool_call_ids"})
"""Fields of which only the type counts. `message` of an error is for people; that of a choice is an object."""


def recorded(reply: Reply) -> Json:
    """A reply as it is kept on file: volatile values are replaced by their types."""
    body = summary(reply.body) if isinstance(reply.body, list) and _is_stream(reply.body) else blanked(reply.body)
    return {"status": reply.status, "content_type": reply.content_type, "body": body}


def blanked(value: Any) -> Any:
    """`value` with `<type>` in place of what differs from call to call."""
    if isinstance(value, dict):
        return {
            name: shape_of(each) if name in VOLATILE and not isinstance(each, dict) else blanked(each)
            for name, each in value.items()
        }
    return [blanked(each) for each in value] if isinstance(value, list) else value


def summary(events: list[Any]) -> Json:
    """A stream, whatever number of tokens the server put into each chunk.

    `shapes` are those of the chunks, the same ones in a row counted once; of `pieces`, text is put together again and
    lists are joined.
    """
    chunks = [event for event in events if isinstance(event, dict)]
    shapes = [shape for shape, _ in itertools.groupby(shape_of(chunk) for chunk in chunks)]
    pieces: Json = {}
    for chunk in chunks:
        for choice in chunk.get("choices", []):
            _join(pieces, choice.get("delta", {}), f"{choice['index']}.")
            _join(pieces, {name: each for name, each in choice.items() if name != "delta"}, f"{choice['index']}.")
    return {"shapes": shapes, "pieces": blanked(pieces), "done": events[-1:] == ["[DONE]"]}


def shape_of(value: Any) -> Any:
    """Keys and types, recursively; a list is the set of its elements' shapes."""
    if isinstance(value, dict):
        return {name: shape_of(each) for name, each in value.items()}
    if isinstance(value, list):
        shapes: list[Any] = []
        for each in value:
            shape = shape_of(each)
            if shape not in shapes:
                shapes.append(shape)
        return shapes
    return type(value).__name__


def differences(found: Any, expected: Any, path: str = "reply") -> Iterator[str]:
    """Where two recorded replies differ, in words."""
    if type(found) is not type(expected):
        yield f"{path}: {found!r} is no {type(expected).__name__} like {expected!r}"
    elif isinstance(expected, dict):
        for name in sorted(expected.keys() | found.keys()):
            if name not in found or name not in expected:
                yield f"{path}.{name}: {'missing' if name not in found else 'not there in the real server'}"
            else:
                yield from differences(found[name], expected[name], f"{path}.{name}")
    elif isinstance(expected, list):
        if len(found) != len(expected):
            yield f"{path}: {len(found)} elements, not {len(expected)}: {found!r} and {expected!r}"
        for index, (left, right) in enumerate(zip(found, expected, strict=False)):
            yield from differences(left, right, f"{path}[{index}]")
    elif isinstance(expected, float):
        if abs(found - expected) > TOLERANCE:
            yield f"{path}: {found} and {expected}"
    elif found != expected:
        yield f"{path}: {found!r} and {expected!r}"


def _is_stream(body: list[Any]) -> bool:
    return body[-1:] == ["[DONE]"]


def _join(pieces: Json, new: Json, prefix: str) -> None:
    for name, value in new.items():
        key = prefix + name
        if name == "tool_calls":
            for call in value:
                _join(pieces, call.get("function", {}), f"{key}.{call['index']}.")
        elif isinstance(value, dict):
            _join(pieces, value, f"{key}.")
        elif value is None or key not in pieces or pieces[key] is None:
            pieces.setdefault(key, value)
            pieces[key] = value if pieces[key] is None else pieces[key]
        elif isinstance(value, (str, list)):
            pieces[key] = pieces[key] + value
        else:
            pieces[key] = value
