"""The messages and content blocks of a Messages conversation as chat messages."""

from __future__ import annotations

from agentenv.gateway.protocols.anthropic.arguments import arguments_of
from agentenv.gateway.protocols.common import JsonObject, ProtocolError, as_object, as_objects, as_text, shorten
from agentenv.messages import Wire


def read_messages(messages: object) -> list[Wire]:
    """Chat messages, oldest first. A user message with tool results becomes several: one per result, and the rest.

    Raises:
        ProtocolError: a content block that a chat message cannot hold, or a conversation that ends with the assistant.
    """
    given = as_objects(messages, "messages")
    if not given:
        raise ProtocolError("there is nothing to answer", "messages")
    if given[-1].get("role") == "assistant":
        raise ProtocolError("an answer begun by the caller (prefill) cannot be continued here", "messages")
    chat: list[Wire] = []
    for index, message in enumerate(given):
        role, param = message.get("role"), f"messages[{index}]"
        if role == "user":
            chat += _user(message.get("content"), f"{param}.content")
        elif role == "assistant":
            chat.append(_assistant(message.get("content"), f"{param}.content"))
        elif role == "system":
            chat.append({"role": "system", "content": text_content(message.get("content"), f"{param}.content")})
        else:
            raise ProtocolError(f"expected user, assistant or system, got {shorten(role)}", f"{param}.role")
    return chat


def text_content(content: object, param: str) -> str | list[Wire]:
    """Text as chat content; a list of text blocks stays a list, and the server joins it as it joins any other."""
    return content if isinstance(content, str) else _parts(content, param, images=False)


def _user(content: object, param: str) -> list[Wire]:
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    chat: list[Wire] = []
    parts: list[Wire] = []
    for index, block in enumerate(as_objects(content, param)):
        where = f"{param}[{index}]"
        if block.get("type") != "tool_result":
            parts.append(_part(block, where))
            continue
        if parts:
            chat.append({"role": "user", "content": parts})
            parts = []
        chat.append(_tool_result(block, where))
    return [*chat, {"role": "user", "content": parts}] if parts or not chat else chat


def _tool_result(block: JsonObject, param: str) -> Wire:
    call_id = as_text(block.get("tool_use_id"), f"{param}.tool_use_id")
    content = block.get("content")
    if content is None:
        content = ""
    elif not isinstance(content, str):
        content = _parts(content, f"{param}.content")
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _assistant(content: object, param: str) -> Wire:
    """One chat message. Its texts are joined without anything in between: they were sampled in one go."""
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Wire] = []
    for index, block in enumerate(as_objects(content, param)):
        where, kind = f"{param}[{index}]", block.get("type")
        if kind == "text":
            texts.append(as_text(block.get("text"), f"{where}.text"))
        elif kind == "thinking":
            thoughts.append(as_text(block.get("thinking"), f"{where}.thinking"))
        elif kind == "tool_use":
            calls.append(_tool_use(block, where))
        else:
            raise ProtocolError(f"a block of type {shorten(kind)} cannot be part of a chat", f"{where}.type")
    message: Wire = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_use(block: JsonObject, param: str) -> Wire:
    function = {
        "name": as_text(block.get("name"), f"{param}.name"),
        "arguments": arguments_of(as_object(block.get("input"), f"{param}.input")),
    }
    return {"id": as_text(block.get("id"), f"{param}.id"), "type": "function", "function": function}


def _parts(content: object, param: str, *, images: bool = True) -> list[Wire]:
    return [_part(block, f"{param}[{i}]", images=images) for i, block in enumerate(as_objects(content, param))]


def _part(block: JsonObject, param: str, *, images: bool = True) -> Wire:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": as_text(block.get("text"), f"{param}.text")}
    if kind == "image" and images:
        return {"type": "image_url", "image_url": {"url": _image_url(block.get("source"), f"{param}.source")}}
    raise ProtocolError(f"a block of type {shorten(kind)} cannot be part of a chat here", f"{param}.type")


def _image_url(given: object, param: str) -> str:
    source = as_object(given, param)
    if source.get("type") == "url":
        return as_text(source.get("url"), f"{param}.url")
    if source.get("type") == "base64":
        data = as_text(source.get("data"), f"{param}.data")
        return f"data:{as_text(source.get('media_type'), f'{param}.media_type')};base64,{data}"
    raise ProtocolError("images are taken by address or as base64", f"{param}.type")
