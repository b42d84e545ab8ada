"""When two messages are the same message, and when two spellings of an answer say the same.

Client libraries change an answer when they send it back: a missing content becomes null or `""`, keys change places,
empty fields come and go, the JSON of tool arguments is parsed and written again, reasoning is left out. None of that
edits the history. Whether the *tokens* go on exactly is proved elsewhere, from what the server renders, so this
comparison can be generous: it only decides which earlier call is asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from agentenv.gateway.wirejson import dumps, spelling
from agentenv.messages import Wire

DIGEST_BYTES = 16
"""Collisions are out of reach (2^-64 for four billion messages in one session)."""

REASONING = ("reasoning", "reasoning_content")
"""Where servers put what a model thought: vLLM's name, and the one it had before."""

TEMPLATE_OPTIONS = ("chat_template", "chat_template_kwargs", "documents", "reasoning_effort")
"""Request fields besides messages and tools that a chat template sees."""

_SPOKEN = frozenset({"role", "content", "tool_calls", "tool_call_id", *REASONING})
_EMPTY: tuple[object, ...] = (None, "", [], {})


def chain(messages: Sequence[Wire]) -> Iterator[bytes]:
    """The digest of each beginning of a conversation: one per message, of everything up to and including it."""
    digest = b""
    for message in messages:
        digest = blake2b(digest + canonical(message), digest_size=DIGEST_BYTES).digest()
        yield digest


def extend(digest: bytes, message: Wire) -> bytes:
    """The digest of a conversation with one message more."""
    return blake2b(digest + canonical(message), digest_size=DIGEST_BYTES).digest()


def digest_of(message: Wire) -> bytes:
    """The digest of one message by itself."""
    return extend(b"", message)


def canonical(message: Wire) -> bytes:
    """One spelling for all messages that are the same.

    >>> canonical({"role": "assistant", "content": None, "refusal": None}) == canonical({"role": "assistant"})
    True
    """
    role, content = message.get("role"), _content(message.get("content"))
    if role == "assistant" and isinstance(content, str):
        content = content.strip()
    parts: list[Any] = [role, content or None]
    if message.get("tool_calls"):
        parts.append([_call(call) for call in _listed(message["tool_calls"])])
    if message.get("tool_call_id"):
        parts.append(["answers", message["tool_call_id"]])
    if len(message) > 2:
        extra = {name: value for name, value in message.items() if name not in _SPOKEN and value not in _EMPTY}
        if extra:
            parts.append(sorted(extra.items()))
    return dumps(parts)


def reasoning_of(message: Wire) -> str:
    """What the model thought before it answered, stripped; `""` where the message does not say."""
    return next((text.strip() for name in REASONING if isinstance(text := message.get(name), str) and text), "")


def reading(message: Wire) -> bytes:
    """A digest of what an answer says, call ids apart: two spellings are the same answer when their readings agree.

    White space around text does not count, nor does the way the JSON of arguments is written.
    """
    calls = [_call(call)[1:] for call in _listed(message.get("tool_calls"))]
    content = _content(message.get("content"))
    content = content.strip() if isinstance(content, str) else content
    return blake2b(dumps([content or None, reasoning_of(message), calls]), digest_size=DIGEST_BYTES).digest()


def listing(tools: Sequence[Wire], options: Mapping[str, Any]) -> bytes:
    """A digest of what a template sees besides the messages."""
    shown = {name: options[name] for name in TEMPLATE_OPTIONS if options.get(name) not in _EMPTY}
    return blake2b(dumps([_sorted(list(tools)), _sorted(shown)]), digest_size=DIGEST_BYTES).digest()


def holds_media(messages: Iterable[Wire]) -> bool:
    """Whether a message has parts that are no text, which no list of token ids can carry."""
    return any(
        isinstance(content := message.get("content"), list)
        and any(not isinstance(part, Mapping) or part.get("type") not in ("text", "refusal") for part in content)
        for message in messages
    )


def _content(content: Any) -> Any:
    """Text as text, also where it comes as a single part."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        part = content[0]
        if part.get("type") == "text":
            return part.get("text")
    return content


def _listed(calls: Any) -> list[Any]:
    return calls if isinstance(calls, list) else []


def _call(call: Any) -> list[Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return [None, call]
    return [call.get("id"), function.get("name"), spelling(function.get("arguments"))]


def _sorted(value: Any) -> Any:
    """JSON with the keys of its objects in order."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
