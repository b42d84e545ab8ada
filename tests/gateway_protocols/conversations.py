"""Conversations in chat format, for property tests."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies

from tests.gateway_protocols.clients import Wire, call, said

TEXTS = strategies.text(min_size=1, max_size=20)
JSON_VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=5), inner),
    max_leaves=5,
)
ARGUMENTS = (
    strategies.dictionaries(strategies.text(max_size=5), JSON_VALUES, max_size=3).map(json.dumps)
    | JSON_VALUES.map(json.dumps)
    | strategies.text(max_size=20)
    | strategies.just('{"INVALID_JSON": "not what it looks like"}')
)
"""Mostly objects; also other JSON, and anything at all: a model is free to write what it likes."""


@strategies.composite
def answers(draw: strategies.DrawFn, calls: int) -> Wire:
    """An assistant message with as many tool calls; without any it says something or thinks."""
    text = draw(strategies.none() | TEXTS)
    reasoning = draw(strategies.none() | TEXTS)
    if not calls and reasoning is None:
        text = text or ""
    made = [call(f"call_{draw(strategies.uuids())}", arguments=draw(ARGUMENTS)) for _ in range(calls)]
    return said(text, *made, reasoning=reasoning)


@strategies.composite
def conversations(draw: strategies.DrawFn) -> list[Wire]:
    """System and user messages, answers, and a result for every tool call; it ends with a user or a tool."""
    messages: list[Wire] = []
    if draw(strategies.booleans()):
        messages.append({"role": "system", "content": draw(TEXTS)})
    for _ in range(draw(strategies.integers(0, 3))):
        messages.append({"role": "user", "content": draw(TEXTS)})
        for _ in range(draw(strategies.integers(0, 2))):
            answer = draw(answers(draw(strategies.integers(1, 3))))
            messages.append(answer)
            messages += [
                {"role": "tool", "tool_call_id": made["id"], "content": draw(TEXTS)} for made in answer["tool_calls"]
            ]
        if draw(strategies.booleans()):
            messages.append(draw(answers(0)))
    return [*messages, {"role": "user", "content": draw(TEXTS)}]


def essence(messages: list[Wire], *, arguments: bool) -> list[Wire]:
    """The conversation without spellings: a list of one text part is that text, valid arguments are their value.

    Args:
        arguments: whether the spelling of valid arguments is part of the conversation.
    """
    return [_essence(message, arguments) for message in messages]


def _essence(message: Wire, arguments: bool) -> Wire:
    found = {key: value for key, value in message.items() if value is not None}
    content = found.get("content")
    if isinstance(content, list) and [part["type"] for part in content] == ["text"]:
        found["content"] = content[0]["text"]
    if not arguments and "tool_calls" in found:
        found["tool_calls"] = [
            made | {"function": made["function"] | {"arguments": _value(made["function"]["arguments"])}}
            for made in found["tool_calls"]
        ]
    return found


def _value(arguments: str) -> Any:
    try:
        value = json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments
    return value if isinstance(value, dict) else arguments
