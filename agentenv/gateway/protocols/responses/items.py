"""The items of a Responses conversation as chat messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentenv.gateway.protocols.common import JsonObject, ProtocolError, as_object, as_objects, as_text, shorten
from agentenv.messages import Wire

_ROLES = ("user", "assistant", "system", "developer")


def read_items(items: Iterable[JsonObject]) -> list[Wire]:
    """Chat messages, oldest first.

    One answer of a model is several items here and one message there. Items follow one another without a mark where an
    answer ends, so: a function call belongs to the answer before it; a message does unless that has a text already; a
    reasoning item opens a new one unless that consists of reasoning alone. Answers that our translator gave come back
    as the message they were made of.

    Raises:
        ProtocolError: an item or content part that a chat message cannot hold.
    """
    reader = _Reader()
    for index, item in enumerate(items):
        reader.read(item, f"input[{index}]")
    return reader.messages


class _Reader:
    def __init__(self) -> None:
        self.messages: list[Wire] = []
        self._answer: Wire | None = None

    def read(self, item: JsonObject, param: str) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, param)
        elif kind == "function_call":
            self._function_call(item, param)
        elif kind == "function_call_output":
            self._function_call_output(item, param)
        elif kind == "reasoning":
            self._reasoning(item, param)
        else:
            raise ProtocolError(f"an item of type {shorten(kind)} cannot be part of a chat", f"{param}.type")

    def _message(self, item: JsonObject, param: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise ProtocolError(f"expected one of {', '.join(_ROLES)}, got {shorten(role)}", f"{param}.role")
        content, param = item.get("content"), f"{param}.content"
        if role != "assistant":
            self._answer = None
            self.messages.append({"role": role, "content": _content(content, param)})
            return
        text, refusal = _said(content, param)
        answer = self._answer
        if answer is None or answer["content"] is not None or "refusal" in answer:
            answer = self._begin()
        answer["content"] = text
        if refusal is not None:
            answer["refusal"] = refusal

    def _function_call(self, item: JsonObject, param: str) -> None:
        answer = self._answer if self._answer is not None else self._begin()
        function = {
            "name": as_text(item.get("name"), f"{param}.name"),
            "arguments": as_text(item.get("arguments"), f"{param}.arguments"),
        }
        call = {"id": as_text(item.get("call_id"), f"{param}.call_id"), "type": "function", "function": function}
        answer.setdefault("tool_calls", []).append(call)

    def _function_call_output(self, item: JsonObject, param: str) -> None:
        self._answer = None
        call_id = as_text(item.get("call_id"), f"{param}.call_id")
        content = _content(item.get("output"), f"{param}.output")
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _reasoning(self, item: JsonObject, param: str) -> None:
        """A summary stands in where there is no reasoning in the open."""
        parts = as_objects(item.get("content") or item.get("summary") or [], f"{param}.content")
        if not parts and item.get("encrypted_content"):
            raise ProtocolError("encrypted reasoning cannot be read here", f"{param}.encrypted_content")
        text = "".join(as_text(part.get("text"), f"{param}.content[{i}].text") for i, part in enumerate(parts))
        answer = self._answer
        if answer is None or answer.keys() != {"role", "content", "reasoning"} or answer["content"] is not None:
            answer = self._begin()
        answer["reasoning"] = answer.get("reasoning", "") + text

    def _begin(self) -> Wire:
        self._answer = {"role": "assistant", "content": None}
        self.messages.append(self._answer)
        return self._answer


def _said(content: object, param: str) -> tuple[str | None, str | None]:
    """Text and refusal of an assistant's message."""
    if isinstance(content, str):
        return content, None
    texts: list[str] = []
    refusals: list[str] = []
    for index, part in enumerate(as_objects(content, param)):
        where = f"{param}[{index}]"
        if part.get("type") in ("output_text", "input_text"):
            texts.append(as_text(part.get("text"), f"{where}.text"))
        elif part.get("type") == "refusal":
            refusals.append(as_text(part.get("refusal"), f"{where}.refusal"))
        else:
            raise ProtocolError(f"an assistant does not say {shorten(part.get('type'))}", f"{where}.type")
    text = "".join(texts) if texts or not refusals else None
    return text, "".join(refusals) if refusals else None


def _content(content: object, param: str) -> str | Sequence[Wire]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{param}[{index}]") for index, part in enumerate(as_objects(content, param))]


def _part(part: JsonObject, param: str) -> Wire:
    kind = part.get("type")
    if kind == "input_text":
        return {"type": "text", "text": as_text(part.get("text"), f"{param}.text")}
    if kind == "input_image":
        if part.get("image_url") is None:
            raise ProtocolError("images are taken by address or as a data URL", f"{param}.file_id")
        image = {"url": as_text(part["image_url"], f"{param}.image_url")}
        if part.get("detail") is not None:
            image["detail"] = part["detail"]
        return {"type": "image_url", "image_url": image}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": dict(as_object(part.get("input_audio"), f"{param}.input_audio"))}
    if kind == "input_file":
        if part.get("file_url") is not None:
            raise ProtocolError("chat completions take a file's data, not its address", f"{param}.file_url")
        file = {key: part[key] for key in ("file_data", "file_id", "filename") if part.get(key) is not None}
        return {"type": "file", "file": file}
    raise ProtocolError(f"content of type {shorten(kind)} cannot be part of a chat", f"{param}.type")
