"""The chunks of a chat stream as the events of a Messages stream."""

from __future__ import annotations

import json
from typing import Any

from agentenv.gateway.protocols.anthropic.reply import (
    SIGNATURE,
    error_body,
    read_usage,
    said,
    start,
    stop,
    text_block,
    thinking_block,
    tool_use,
)
from agentenv.gateway.protocols.common import JsonObject, first_choice, reasoning_of, server_sent, suffix_of
from agentenv.messages import Wire


class Stream:
    """Chat chunks in, complete server-sent events out; one object for each answer.

    Text and thinking are passed on as they come. A tool call's arguments are held back until the answer is complete and
    then sent in one piece: only then is it known whether they are a JSON object, and a client that is sent half of
    something else raises instead of telling the model. (Anthropic's own servers hold arguments back as well, unless
    asked for `eager_input_streaming`.)
    """

    def __init__(self, request: JsonObject) -> None:
        self._request = request
        self._suffix = ""
        self._started = self._over = False
        self._index = 0
        self._open: str | None = None
        self._calls: dict[int, Wire] = {}
        self._end: JsonObject = {}
        self._usage: JsonObject | None = None
        self._events: list[bytes] = []

    def feed(self, chunk: JsonObject) -> list[bytes]:
        """The events that a chunk adds. A chunk that reports an error ends the stream as `fail` does."""
        if self._over:
            return []
        if chunk.get("error"):
            return self.fail(chunk["error"])
        if not self._started:
            self._started = True
            self._suffix = suffix_of(chunk)
            self._emit("message_start", message=start(chunk, self._request))
        self._usage = chunk.get("usage") or self._usage
        choice = first_choice(chunk)
        delta: JsonObject = choice.get("delta") or {}
        if reasoning := reasoning_of(delta):
            self._switch("thinking", thinking_block("") | {"signature": ""})
            self._delta({"type": "thinking_delta", "thinking": reasoning})
        if text := said(delta):
            self._switch("text", text_block(""))
            self._delta({"type": "text_delta", "text": text})
        for piece in delta.get("tool_calls") or ():
            self._collect(piece)
        if choice.get("finish_reason"):
            self._end = choice
        return self._flush()

    def finish(self) -> list[bytes]:
        """The events that close the stream. One that ends before its answer did, ends as `fail` does."""
        if self._over:
            return []
        if not self._end:
            return self.fail({"message": "the server's stream ended before its answer did"})
        if not self._calls and self._open is None:
            self._switch("text", text_block(""))
        self._close()
        for index in sorted(self._calls):
            self._send_call(index)
        self._emit("message_delta", delta=stop(self._end, self._calls), usage=read_usage(self._usage))
        self._emit("message_stop")
        self._over = True
        return self._flush()

    def fail(self, error: JsonObject) -> list[bytes]:
        """The event that makes Anthropic's client raise.

        Args:
            error: the `error` object of an OpenAI error body; only `message` is needed.
        """
        if self._over:
            return []
        self._over = True
        body = error_body(500, str(error.get("message") or "the server failed"))
        self._emit("error", error=body["error"])
        return self._flush()

    def _collect(self, piece: JsonObject) -> None:
        function: JsonObject = piece.get("function") or {}
        call = self._calls.setdefault(piece.get("index") or 0, {"id": None, "name": "", "arguments": ""})
        call["id"] = call["id"] or piece.get("id")
        call["name"] = call["name"] or function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""

    def _send_call(self, index: int) -> None:
        call = self._calls[index]
        block = tool_use(self._suffix, index, call["id"], call["name"], call["arguments"])
        self._switch(f"call {index}", block | {"input": {}})
        self._delta({"type": "input_json_delta", "partial_json": json.dumps(block["input"], ensure_ascii=False)})
        self._close()

    def _switch(self, kind: str, block: Wire) -> None:
        """Begins `block` unless a block of this kind is open."""
        if self._open == kind:
            return
        self._close()
        self._open = kind
        self._emit("content_block_start", index=self._index, content_block=block)

    def _close(self) -> None:
        if self._open is None:
            return
        if self._open == "thinking":
            self._delta({"type": "signature_delta", "signature": SIGNATURE})
        self._emit("content_block_stop", index=self._index)
        self._open = None
        self._index += 1

    def _delta(self, delta: Wire) -> None:
        self._emit("content_block_delta", index=self._index, delta=delta)

    def _emit(self, event: str, **data: Any) -> None:
        self._events.append(server_sent(event, {"type": event, **data}))

    def _flush(self) -> list[bytes]:
        events, self._events = self._events, []
        return events
