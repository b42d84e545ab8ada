"""What goes over the wire: requests read, replies tokenised, and chat completions written as vLLM writes them.

The tokenizer is one token a UTF-8 byte plus one special token a role and one that ends a turn. It is exact both ways,
and the prompt of a turn starts with the prompt and the sampled tokens of the turn before, as long as the client sends
back the assistant message it was given: what token-graph tests need.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROLE_TOKENS = {"system": 256, "developer": 256, "user": 257, "assistant": 258, "tool": 259}
END_TOKEN = 260
MEDIA_TOKEN = 261
TOOLS_TOKEN = 262
_PRINTED = {256: "<|system|>", 257: "<|user|>", 258: "<|assistant|>", 259: "<|tool|>", 260: "<|end|>"}
_PRINTED |= {MEDIA_TOKEN: "<|media|>", TOOLS_TOKEN: "<|tools|>"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call by the model; ``arguments`` is JSON text, as on the wire."""

    name: str
    arguments: str = "{}"
    id: str | None = None
    """Made from the session, call and position if not given."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the scripted model says. Log-probabilities not given are made from the token ids, all below zero."""

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: tuple[float, ...] | None = None
    """One for each token of the reply, the end token included."""
    latency: float | None = None
    """Seconds, instead of the server's latency."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion request, as the script and the fault rules see it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    session: str
    number: int
    """Requests that reached the server before this one."""
    call: int
    """Requests of this session before this one, failed ones included."""
    turn: int
    """Answers this session was given before this one: a retried call is the same turn."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages

    @property
    def tools(self) -> list[dict[str, Any]]:
        return self.body.get("tools") or []

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return _text(self.messages[-1].get("content"))


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply after tokenisation: what is put on the wire, and where a fault spoils it."""

    content: str | None
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    token_ids: list[int]
    logprobs: list[float]
    completion_tokens: int


def problem_with(body: object) -> str | None:
    """Why this body is no chat completion request, or None."""
    if not isinstance(body, dict):
        return "The body must be a JSON object."
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' must be a list with at least one message."
    if not all(isinstance(message, dict) and message.get("role") in ROLE_TOKENS for message in messages):
        return f"Every message must be an object whose 'role' is one of {sorted(ROLE_TOKENS)}."
    if body.get("n", 1) not in (1, None):
        return "Only n=1 is served."
    return None


def prompt_token_ids(request: ChatRequest) -> list[int]:
    """The tokens the model would see: tools, messages, and the start of the assistant's turn."""
    ids: list[int] = []
    if request.tools:
        ids += [TOOLS_TOKEN, *json.dumps(request.tools).encode(), END_TOKEN]
    for message in request.messages:
        ids.append(ROLE_TOKENS[message["role"]])
        ids += _content_ids(message.get("content"))
        for call in message.get("tool_calls") or ():
            ids += _tool_call_text(call["function"]["name"], call["function"]["arguments"]).encode()
        ids.append(END_TOKEN)
    ids.append(ROLE_TOKENS["assistant"])
    return ids


def complete(reply: Reply, request: ChatRequest) -> Completion:
    """Tokenise a reply, honouring ``max_tokens``: one that is cut becomes plain text with finish reason ``length``."""
    text = (reply.content or "") + "".join(_tool_call_text(call.name, call.arguments) for call in reply.tool_calls)
    ids = [*text.encode(), END_TOKEN]
    limit = request.body.get("max_completion_tokens") or request.body.get("max_tokens")
    logprobs = list(reply.logprobs) if reply.logprobs is not None else [-(1 + token % 8) / 16 for token in ids]
    if limit is not None and len(ids) > limit:
        kept = ids[:limit]
        return Completion(detokenise(kept), (), "length", kept, logprobs[:limit], limit)
    calls = tuple(
        ToolCall(call.name, call.arguments, call.id or f"call_{request.number}_{position}")
        for position, call in enumerate(reply.tool_calls)
    )
    finish_reason = reply.finish_reason or ("tool_calls" if calls else "stop")
    return Completion(reply.content, calls, finish_reason, ids, logprobs, len(ids))


def detokenise(ids: Sequence[int]) -> str:
    """The text of token ids, special tokens as ``<|name|>``."""
    return b"".join(_PRINTED[token].encode() if token in _PRINTED else bytes([token]) for token in ids).decode(
        "utf-8", errors="replace"
    )


def response_body(request: ChatRequest, completion: Completion) -> dict[str, Any]:
    """The body of a chat completion that is not streamed."""
    prompt = prompt_token_ids(request)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": completion.content},
        "logprobs": _logprobs(completion, 0, None) if request.body.get("logprobs") else None,
        "finish_reason": completion.finish_reason,
        "stop_reason": None,
    }
    if completion.tool_calls:
        choice["message"]["tool_calls"] = [_tool_call_body(call) for call in completion.tool_calls]
    body = _envelope(request, "chat.completion") | {"choices": [choice], "usage": _usage(prompt, completion)}
    if request.body.get("return_token_ids"):
        body["prompt_token_ids"] = prompt
        choice["token_ids"] = completion.token_ids
    return body


def stream_bodies(request: ChatRequest, completion: Completion, tokens_per_chunk: int = 8) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed chat completion, without the closing ``[DONE]``.

    As vLLM sends them: the prompt ids in the first chunk only, ``token_ids`` and ``logprobs`` as deltas, usage in a
    last chunk without choices if ``stream_options.include_usage`` asks for it.
    """
    envelope = _envelope(request, "chat.completion.chunk")
    prompt = prompt_token_ids(request)
    with_ids = bool(request.body.get("return_token_ids"))
    first = envelope | {"choices": [_chunk_choice({"role": "assistant", "content": ""})]}
    yield first | {"prompt_token_ids": prompt} if with_ids else first

    deltas = list(_deltas(completion, tokens_per_chunk))
    for position, (delta, start, end) in enumerate(deltas):
        choice = _chunk_choice(delta)
        if position == len(deltas) - 1:
            choice["finish_reason"], end = completion.finish_reason, None
        if with_ids:
            choice["token_ids"] = completion.token_ids[start:end]
        if request.body.get("logprobs"):
            choice["logprobs"] = _logprobs(completion, start, end)
        yield envelope | {"choices": [choice]}
    if (request.body.get("stream_options") or {}).get("include_usage"):
        yield envelope | {"choices": [], "usage": _usage(prompt, completion)}


def _deltas(completion: Completion, tokens_per_chunk: int) -> Iterator[tuple[dict[str, Any], int, int | None]]:
    """Message deltas with the span of tokens each stands for; the last one is empty and takes what is left."""
    text = (completion.content or "").encode()
    start = 0
    while start < len(text):
        end = min(start + tokens_per_chunk, len(text))
        while end < len(text) and text[end] & 0xC0 == 0x80:  # never split a character
            end += 1
        yield {"content": text[start:end].decode(errors="replace")}, start, end
        start = end
    for index, call in enumerate(completion.tool_calls):
        whole = _tool_call_body(call)
        opening = whole | {"index": index, "function": {"name": call.name, "arguments": ""}}
        yield {"tool_calls": [opening]}, start, start
        half = len(call.arguments) // 2
        for part in (call.arguments[:half], call.arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}, start, start
        end = start + len(_tool_call_text(call.name, call.arguments).encode())
        yield {}, start, end
        start = end
    yield {}, start, None


def _chunk_choice(delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}


def _envelope(request: ChatRequest, kind: str) -> dict[str, Any]:
    identity = f"chatcmpl-{request.number}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": request.body.get("model", "mock")}


def _usage(prompt: list[int], completion: Completion) -> dict[str, int]:
    sampled = completion.completion_tokens
    return {"prompt_tokens": len(prompt), "completion_tokens": sampled, "total_tokens": len(prompt) + sampled}


def _logprobs(completion: Completion, start: int, end: int | None) -> dict[str, Any]:
    pairs = zip(completion.token_ids[start:end], completion.logprobs[start:end], strict=False)
    return {
        "content": [
            {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}
            for text, logprob in ((detokenise([token]), logprob) for token, logprob in pairs)
        ]
    }


def _tool_call_body(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool_call_text(name: str, arguments: str) -> str:
    return f"<tool_call>{name} {arguments}</tool_call>"


def _content_ids(content: Any) -> list[int]:
    if not isinstance(content, list):
        return list(_text(content).encode())
    ids: list[int] = []
    for part in content:
        ids += part["text"].encode() if part.get("type") == "text" else [MEDIA_TOKEN]
    return ids


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""
