"""Messages as text: what a Gymnasium agent reads, and how what it writes becomes an assistant message."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import gymnasium.spaces

from agentenv.env import Observation
from agentenv.messages import MalformedMessageError, Message, Part, Role, ToolCall, assistant
from agentenv.tools import ToolSpec

SAMPLED = frozenset(map(chr, range(32, 127))) | {"\n"}
"""The characters `UnicodeText.sample` draws from: printable ASCII and the line break."""

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class UnicodeText(gymnasium.spaces.Text):
    """Any text of at most `max_length` characters. Samples are drawn from `SAMPLED`, but every character belongs."""

    def __init__(self, max_length: int, seed: int | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=SAMPLED, seed=seed)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def is_np_flattenable(self) -> bool:
        """No: a text may hold characters that have no index in the character set."""
        return False

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


def render_observation(observation: Observation, known_tools: Sequence[ToolSpec] = ()) -> str:
    """New messages, each under its role in square brackets, after the tools when they are others than before.

    Images and other parts that are no text appear as `[image_url]`; `info["messages"]` has them whole.
    """
    blocks = [f"[{message.role.value}]\n{_text(message)}" for message in observation.messages]
    if tuple(observation.tools) != tuple(known_tools):
        blocks.insert(0, _render_tools(observation.tools))
    return "\n\n".join(blocks)


def parse_action(text: str, call_prefix: str = "call") -> Message:
    """The assistant message a text stands for.

    Either an OpenAI message as a JSON object with `"role": "assistant"`, or text, with tool calls in the Hermes form
    `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. Where a call is malformed, all of it is plain text.

    >>> parse_action('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>').tool_calls[0].arguments
    '{"a": 1}'
    """
    if text.lstrip().startswith("{"):
        message = _read_message(text, call_prefix)
        if message is not None:
            return message
    calls = [_read_call(found, f"{call_prefix}_{index}") for index, found in enumerate(_CALL.findall(text))]
    known = [call for call in calls if call is not None]
    if not known or len(known) < len(calls):
        return assistant(text)
    return assistant(_CALL.sub("", text).strip() or None, *known)


def _read_message(text: str, call_prefix: str) -> Message | None:
    wire = _json(text)
    if not isinstance(wire, dict) or wire.get("role") != Role.ASSISTANT:
        return None
    try:
        message = Message.from_wire({**wire, "tool_calls": [_as_wire(call) for call in wire.get("tool_calls") or ()]})
    except (MalformedMessageError, TypeError, AttributeError):
        return None
    calls = (
        ToolCall(call.id or f"{call_prefix}_{index}", call.name, call.arguments)
        for index, call in enumerate(message.tool_calls)
    )
    return Message(message.role, message.content, tuple(calls), extra=message.extra)


def _as_wire(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call in wire form; arguments written as an object instead of as text of one are forgiven."""
    function = dict(call["function"]) if "function" in call else {}
    if isinstance(function.get("arguments"), dict):
        function["arguments"] = json.dumps(function["arguments"])
    return {**call, "function": function}


def _read_call(text: str, id: str) -> ToolCall | None:
    value = _json(text)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or "arguments" not in value:
        return None
    return ToolCall(id, value["name"], json.dumps(value["arguments"]))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(message: Message) -> str:
    parts = message.content if isinstance(message.content, tuple) else ()
    text = "".join(_part_text(part) for part in parts) if parts else message.text
    calls = [
        f'<tool_call>{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}</tool_call>'
        for call in message.tool_calls
    ]
    return "\n".join(filter(None, [text, *calls]))


def _part_text(part: Part) -> str:
    return str(part.wire.get("text", "")) if part.type == "text" else f"[{part.type}]"


def _render_tools(tools: Sequence[ToolSpec]) -> str:
    if not tools:
        return "[tools]\nnone"
    listed = "\n".join(json.dumps(tool.to_wire()["function"], ensure_ascii=False) for tool in tools)
    how = 'Call one with <tool_call>{"name": …, "arguments": {…}}</tool_call>.'
    return f"[tools]\n{listed}\n{how}"
