"""What an environment shows, as content blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import mcp_types as types

from agentenv.messages import Message, Part
from agentenv.tools import Content

_DATA = re.compile(r"data:(?P<kind>[^;,]+);base64,(?P<data>.*)", re.DOTALL)


def blocks(content: Content | None) -> list[types.ContentBlock]:
    """The blocks of a message's content: text, images and sounds as such, anything else as JSON."""
    if content is None:
        return []
    if isinstance(content, str):
        return [types.TextContent(text=content)]
    return [_block(part) for part in content]


def told(messages: Iterable[Message]) -> list[types.ContentBlock]:
    """Several messages as one answer, each with who speaks where that is not the environment itself."""
    found: list[types.ContentBlock] = []
    for message in messages:
        parts = blocks(message.content)
        if len(parts) == 1 and isinstance(parts[0], types.TextContent):
            found.append(types.TextContent(text=f"[{message.role.value}] {parts[0].text}"))
        else:
            found += [types.TextContent(text=f"[{message.role.value}]"), *parts]
    return found


def _block(part: Part) -> types.ContentBlock:
    if part.type == "text":
        return types.TextContent(text=str(part.wire.get("text", "")))
    if part.type == "image_url":
        url = str(part.wire["image_url"]["url"])
        inline = _DATA.fullmatch(url)
        if inline is not None:
            return types.ImageContent(data=inline["data"], mime_type=inline["kind"])
        return types.TextContent(text=f"[image: {url}]")
    if part.type == "input_audio":
        sound = part.wire["input_audio"]
        return types.AudioContent(data=str(sound["data"]), mime_type=f"audio/{sound['format']}")
    return types.TextContent(text=json.dumps(part.to_wire(), ensure_ascii=False))
