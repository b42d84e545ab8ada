"""Chat messages in OpenAI's wire format, as immutable values.

A message keeps whatever came over the wire: text, images, audio and part types that did not exist when this was
written all pass through untouched, so an environment can show a screenshot to a model without this file knowing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from agentenv.errors import AgentenvError

Wire = dict[str, Any]
"""A JSON object as it travels to or from an OpenAI-compatible endpoint."""


class MalformedMessageError(AgentenvError):
    """A wire object that is not a chat message."""


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multi-part message: its wire object, unchanged.

    >>> Part.text("hello").to_wire()
    {'type': 'text', 'text': 'hello'}
    """

    wire: Mapping[str, Any]

    @classmethod
    def text(cls, text: str) -> Self:
        return cls({"type": "text", "text": text})

    @classmethod
    def image_url(cls, url: str, detail: str | None = None) -> Self:
        """An image by address; `data:image/png;base64,…` for one that travels in the message."""
        image = {"url": url} if detail is None else {"url": url, "detail": detail}
        return cls({"type": "image_url", "image_url": image})

    @classmethod
    def audio(cls, base64_data: str, encoding: str = "wav") -> Self:
        return cls({"type": "input_audio", "input_audio": {"data": base64_data, "format": encoding}})

    @property
    def type(self) -> str:
        return str(self.wire.get("type", ""))

    def to_wire(self) -> Wire:
        return dict(self.wire)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the policy asked for. `arguments` is the JSON text exactly as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str

    def to_wire(self) -> Wire:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        function = wire.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise MalformedMessageError(f"a tool call needs function.name, got {_shorten(wire)}")
        arguments = function.get("arguments", "")
        if not isinstance(arguments, str):  # some servers send the object instead of its text
            arguments = json.dumps(arguments, ensure_ascii=False)
        return cls(str(wire.get("id") or ""), function["name"], arguments)


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message.

    `extra` holds wire fields this class has no name for (`refusal`, `annotations`, …); they are sent back as they
    came.
    """

    role: Role
    content: str | tuple[Part, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the message, text parts joined; `""` where there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.wire.get("text", "")) for part in self.content or () if part.type == "text")

    def to_wire(self) -> Wire:
        wire: Wire = {"role": self.role.value, "content": self.content}
        if isinstance(self.content, tuple):
            wire["content"] = [part.to_wire() for part in self.content]
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            wire["name"] = self.name
        wire.update(self.extra)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Reads a wire object. Raises `MalformedMessageError` when it is not a chat message."""
        try:
            role = Role(wire["role"])
        except (KeyError, ValueError, TypeError):
            raise MalformedMessageError(f"a message needs a known role, got {_shorten(wire)}") from None
        content = wire.get("content")
        if isinstance(content, list):
            content = tuple(Part(part) for part in content if isinstance(part, Mapping))
        elif content is not None and not isinstance(content, str):
            raise MalformedMessageError(f"content must be text, parts or null, got {_shorten(content)}")
        calls = _calls_from_wire(raw_calls) if (raw_calls := wire.get("tool_calls")) else ()
        extra = {key: value for key, value in wire.items() if key not in _NAMED and value is not None}
        return cls(role, content, calls, wire.get("tool_call_id"), wire.get("name"), extra)


def _calls_from_wire(wire: object) -> tuple[ToolCall, ...]:
    if not isinstance(wire, list | tuple) or not all(isinstance(call, Mapping) for call in wire):
        raise MalformedMessageError(f"tool_calls must be a list of objects, got {_shorten(wire)}")
    return tuple(ToolCall.from_wire(call) for call in wire)


_NAMED = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})


def _shorten(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def system(text: str) -> Message:
    return Message(Role.SYSTEM, text)


def user(content: str | tuple[Part, ...]) -> Message:
    return Message(Role.USER, content)


def assistant(text: str | None = None, *tool_calls: ToolCall) -> Message:
    return Message(Role.ASSISTANT, text, tool_calls)


def tool_result(call_id: str, content: str | tuple[Part, ...], name: str | None = None) -> Message:
    return Message(Role.TOOL, content, tool_call_id=call_id, name=name)
