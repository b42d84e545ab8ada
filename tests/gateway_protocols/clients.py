"""The official clients in front of our translators, without a network: what they send and what they read is real."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import openai

from agentenv.gateway.protocols import ProtocolError
from agentenv.gateway.protocols import anthropic as messages_api
from agentenv.gateway.protocols import responses as responses_api

Wire = dict[str, Any]
Upstream = Callable[[Wire], Wire]
"""A chat server: from a chat request to a chat completion, whole."""


class Gateway:
    """Answers `/v1/responses` and `/v1/messages` by asking `upstream` in chat completions.

    `chats` are the chat requests it made. A streaming request is answered from the same whole reply, cut into `pieces`
    of characters.
    """

    def __init__(self, upstream: Upstream, pieces: int = 3) -> None:
        self.upstream, self.pieces = upstream, pieces
        self.chats: list[Wire] = []

    def openai(self) -> openai.OpenAI:
        client = httpx2.Client(transport=httpx2.MockTransport(lambda request: self._answer(responses_api, request)))
        return openai.OpenAI(base_url="http://gateway/v1", api_key="none", max_retries=0, http_client=client)

    def anthropic(self) -> anthropic.Anthropic:
        client = httpx2.Client(transport=httpx2.MockTransport(lambda request: self._answer(messages_api, request)))
        return anthropic.Anthropic(base_url="http://gateway", api_key="none", max_retries=0, http_client=client)

    def _answer(self, protocol: ModuleType, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        try:
            chat = protocol.to_chat(body)
        except ProtocolError as error:
            return httpx2.Response(400, json=protocol.error_body(400, str(error), param=error.param))
        self.chats.append(chat)
        reply = self.upstream(chat)
        if not chat.get("stream"):
            return httpx2.Response(200, json=protocol.from_chat(reply, body))
        events = b"".join(stream_events(protocol.Stream(body), chunks_of(reply, self.pieces)))
        return httpx2.Response(200, content=events, headers={"content-type": "text/event-stream"})


def stream_events(stream: Any, chunks: Sequence[Wire]) -> Iterator[bytes]:
    for chunk in chunks:
        yield from stream.feed(chunk)
    yield from stream.finish()


def chat_reply(message: Wire, finish_reason: str = "stop", **choice: Any) -> Wire:
    """A chat completion, as vLLM writes it."""
    return {
        "id": "chatcmpl-4f2",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None, **choice}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }


def said(text: str | None = None, *calls: Wire, reasoning: str | None = None) -> Wire:
    message: Wire = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning"] = reasoning
    if calls:
        message["tool_calls"] = list(calls)
    return message


def call(call_id: str, name: str = "calculator", arguments: str = '{"expression": "12*34"}') -> Wire:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def chunks_of(reply: Wire, pieces: int) -> list[Wire]:
    """The chunks of a chat stream that add up to `reply`, in the order in which vLLM sends them."""
    choice = reply["choices"][0]
    message = choice["message"]
    head = {key: reply[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[Wire] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning": piece} for piece in _cut(message.get("reasoning"), pieces)]
    deltas += [{"content": piece} for piece in _cut(message.get("content"), pieces)]
    deltas += [{"refusal": piece} for piece in _cut(message.get("refusal"), pieces)]
    for index, tool_call in enumerate(message.get("tool_calls") or ()):
        function = tool_call["function"]
        opening = {"id": tool_call["id"], "type": "function", "function": {"name": function["name"], "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **opening}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in _cut(function["arguments"], pieces)
        ]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    ending = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    if "stop_reason" in choice:
        ending["stop_reason"] = choice["stop_reason"]
    return [*chunks, {**head, "choices": [ending]}, {**head, "choices": [], "usage": reply["usage"]}]


def _cut(text: str | None, size: int) -> list[str]:
    text = text or ""
    return [text[start : start + size] for start in range(0, len(text), size)]
