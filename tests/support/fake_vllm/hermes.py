"""vLLM's hermes tool parser while an answer streams: what is new in the text since the last look."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field

from tests.support.fake_vllm.refusals import Json

OPENING, CLOSING = "<tool_call>", "</tool_call>"


def new_call_id() -> str:
    return f"chatcmpl-tool-{uuid.uuid4().hex[:16]}"


@dataclass(slots=True)
class _Call:
    named: bool = False
    arguments: str = ""


@dataclass(slots=True)
class HermesStream:
    """Name first, then the arguments piece by piece as they are sampled, whether or not they turn out to be JSON."""

    _text: str = ""
    _sent: int = 0
    _calls: list[_Call] = field(default_factory=list)

    @property
    def called(self) -> bool:
        """Whether any call has been announced."""
        return any(call.named for call in self._calls)

    def feed(self, text: str) -> Json | None:
        """The delta that `text` brings; None while there is nothing to say."""
        self._text += text
        content = self._content()
        pieces: list[Json] = []
        for index, (body, whole) in enumerate(self._bodies()):
            if index >= len(self._calls):
                self._calls.append(_Call())
            if not self._announce(index, body, pieces):
                break
            self._extend(index, body, whole, pieces)
        if not content and not pieces:
            return None
        # vLLM sets both fields of such a message, so content is there even when it is null.
        return {"content": content, **({"tool_calls": pieces} if pieces else {})}

    def _content(self) -> str | None:
        opening = self._text.find(OPENING)
        end = opening if opening >= 0 else len(self._text) - _overlap(self._text, OPENING)
        if end <= self._sent:
            return None
        start, self._sent = self._sent, end
        return self._text[start:end]

    def _bodies(self) -> list[tuple[str, bool]]:
        bodies: list[tuple[str, bool]] = []
        for part in self._text.split(OPENING)[1:]:
            body, closing, _ = part.partition(CLOSING)
            if closing:
                bodies.append((body.strip(), True))
                continue
            overlap = _overlap(body, CLOSING)
            body = (body[:-overlap] if overlap else body).strip()
            bodies.append((body, _is_json(body)))
            break
        return bodies

    def _announce(self, index: int, body: str, pieces: list[Json]) -> bool:
        call = self._calls[index]
        if not call.named:
            name = re.search(r'"name"\s*:\s*"([^"]+)"', body)
            if name is None:
                return False
            call.named = True
            function = {"name": name.group(1)}
            pieces.append({"id": new_call_id(), "type": "function", "index": index, "function": function})
        return True

    def _extend(self, index: int, body: str, whole: bool, pieces: list[Json]) -> None:
        found = re.search(r'"arguments"\s*:\s*', body)
        if found is None:
            return
        arguments = body[found.end() :]
        if whole:
            arguments = arguments.rstrip().removesuffix("}").rstrip()
        call = self._calls[index]
        if len(arguments) > len(call.arguments):
            new, call.arguments = arguments[len(call.arguments) :], arguments
            pieces.append({"index": index, "function": {"arguments": new}})


def _overlap(text: str, tag: str) -> int:
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
