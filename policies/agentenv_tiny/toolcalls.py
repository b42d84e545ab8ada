"""Tool calls in sampled text: the Hermes format, read the way vLLM's hermes parser reads it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

OPENING = "<tool_call>"
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as sampled. `arguments` is JSON text; an untrained model may put any JSON value there."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedText:
    """What the text says: `content` before the first call (None when empty) and the calls."""

    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()


def parse_tool_calls(text: str) -> ParsedText:
    """Split sampled text into content and calls. If any call is not valid, all of the text stays content.

    Valid means: JSON (without NaN and Infinity, which vLLM would accept), an object with a string `name` and with
    `arguments`. A call whose closing tag is missing counts when its JSON is whole.

    >>> parse_tool_calls('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>').tool_calls
    (ToolCall(name='add', arguments='{"a": 1}'),)
    """
    start = text.find(OPENING)
    if start < 0:
        return ParsedText(content=text)
    calls = []
    for closed, unclosed in _CALL.findall(text, start):
        call = _read_call(closed or unclosed)
        if call is None:
            return ParsedText(content=text)
        calls.append(call)
    return ParsedText(content=text[:start] or None, tool_calls=tuple(calls))


def _read_call(text: str) -> ToolCall | None:
    try:
        value = json.loads(text, parse_constant=_refuse)
        if not isinstance(value, dict) or not isinstance(value.get("name"), str) or "arguments" not in value:
            return None
        call = ToolCall(name=value["name"], arguments=json.dumps(value["arguments"], ensure_ascii=False))
        (call.name + call.arguments).encode()  # an escaped lone surrogate is no text: nothing could be sent back
    except (ValueError, RecursionError):
        return None
    return call


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
