"""What a model sees of a server's results, resources and prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import assert_never

import mcp_types as types

from agentenv.messages import Message, Part, Role
from agentenv.tools import Content


def result_content(result: types.CallToolResult, longest: int) -> Content:
    """A call's result as an observation: text as it is, images and sounds as parts, or else the structured data.

    Args:
        longest: characters that are shown, everything together; of what is longer, the beginning. An image that does
            not fit is named instead.
    """
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [Part.text(json.dumps(result.structured_content, ensure_ascii=False))]
    return _joined(_fitting(parts, longest))


def resource_content(result: types.ReadResourceResult, longest: int) -> Content:
    """The contents of a resource as an observation."""
    return _joined(_fitting([_resource(found) for found in result.contents], longest))


def prompt_messages(result: types.GetPromptResult) -> tuple[Message, ...]:
    """The messages of a prompt."""
    return tuple(Message(Role(message.role), _joined([_part(message.content)])) for message in result.messages)


def _part(block: types.ContentBlock) -> Part:
    if isinstance(block, types.TextContent):
        return Part.text(block.text)
    if isinstance(block, types.ImageContent):
        return Part.image_url(f"data:{block.mime_type};base64,{block.data}")
    if isinstance(block, types.AudioContent):
        return Part.audio(block.data, block.mime_type.partition("/")[2] or "wav")
    if isinstance(block, types.ResourceLink):
        about = f": {block.description}" if block.description else ""
        return Part.text(f"[resource {block.uri} ({block.name}){about}]")
    if isinstance(block, types.EmbeddedResource):
        return _resource(block.resource)
    assert_never(block)


def _resource(found: types.TextResourceContents | types.BlobResourceContents) -> Part:
    if isinstance(found, types.TextResourceContents):
        return Part.text(found.text)
    kind = found.mime_type or ""
    if kind.startswith("image/"):
        return Part.image_url(f"data:{kind};base64,{found.blob}")
    return Part.text(f"[{len(found.blob) * 3 // 4} bytes of {kind or 'an unknown type'} at {found.uri}]")


def _fitting(parts: Iterable[Part], longest: int) -> list[Part]:
    """As much as may be shown, with a word on what is left out."""
    left, fitting = longest, []
    for part in parts:
        text = part.wire.get("text")
        size = len(text) if isinstance(text, str) else len(json.dumps(part.to_wire()))
        if size <= left:
            fitting.append(part)
        elif isinstance(text, str):
            fitting.append(Part.text(f"{text[:left]}… ({size - left} characters more are not shown)"))
        else:
            fitting.append(Part.text(f"[{part.type} of {size} characters, too large to be shown]"))
        left = max(left - size, 0)
    return fitting


def _joined(parts: list[Part]) -> Content:
    """Plain text where there is nothing else."""
    if all(part.type == "text" for part in parts):
        return "\n".join(str(part.wire["text"]) for part in parts)
    return tuple(parts)
