"""The chunks of a chat stream as the events of a response stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

from agentenv.gateway.protocols.common import JsonObject, first_choice, reasoning_of, server_sent, suffix_of
from agentenv.gateway.protocols.responses.reply import (
    call_item,
    conclusion,
    envelope,
    message_item,
    read_logprobs,
    reasoning_item,
    status_of,
    text_part,
)
from agentenv.gateway.protocols.responses.request import logprobs_asked
from agentenv.messages import Wire


class Stream:
    """Chat chunks in, complete server-sent events out; one object for each answer.

    Every piece is passed on as it comes. The message item stays open until the end, since a server may send text after
    a call has begun and both belong to one message. The last event holds the response that `from_chat` would have made
    of the whole reply, its items in the order in which they began.

    Example:
        stream = Stream(request)
        for chunk in chunks:
            write(stream.feed(chunk))
        write(stream.finish())
    """

    def __init__(self, request: JsonObject) -> None:
        self._request = request
        self._wants_logprobs = logprobs_asked(request)
        self._response: Wire = {}
        self._suffix = ""
        self._sequence = 0
        self._items: list[_Item] = []
        self._message: _Message | None = None
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None
        self._usage: JsonObject | None = None
        self._over = False
        self._events: list[bytes] = []

    def feed(self, chunk: JsonObject) -> list[bytes]:
        """The events that a chunk adds. A chunk that reports an error ends the stream as `fail` does."""
        if self._over:
            return []
        if chunk.get("error"):
            return self.fail(chunk["error"])
        self._begin(chunk)
        self._usage = chunk.get("usage") or self._usage
        choice = first_choice(chunk)
        delta: JsonObject = choice.get("delta") or {}
        if reasoning := reasoning_of(delta):
            self._reason(reasoning)
        if delta.get("content") or delta.get("refusal"):
            self._say(choice, delta)
        for call in delta.get("tool_calls") or ():
            self._call(call)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return self._flush()

    def finish(self) -> list[bytes]:
        """The events that close the stream. One that ends before its answer did, ends as `fail` does."""
        if self._over:
            return []
        if self._finish_reason is None:
            return self.fail({"message": "the server's stream ended before its answer did"})
        if not self._items:
            self._opened_text(self._opened_message())
        for item in self._items:
            self._close(item)
        status = status_of(self._finish_reason)
        output = [item.whole() for item in self._items]
        self._response |= conclusion(status, self._finish_reason, output, self._usage)
        self._emit(f"response.{status}", response=self._response)
        self._over = True
        return self._flush()

    def fail(self, error: JsonObject) -> list[bytes]:
        """The events that tell of a failure: `response.failed`, and an `error` that makes OpenAI's client raise.

        Args:
            error: the `error` object of an OpenAI error body; only `message` is needed.
        """
        if self._over:
            return []
        self._begin({})
        message = str(error.get("message") or "the server failed")
        self._response |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        self._response["output"] = [item.whole() | {"status": "incomplete"} for item in self._items]
        self._emit("response.failed", response=self._response)
        details = {"message": message, "code": error.get("code"), "param": error.get("param")}
        self._emit("error", **details, error=details | {"type": error.get("type") or "server_error"})
        self._over = True
        return self._flush()

    def _begin(self, chunk: JsonObject) -> None:
        if self._response:
            return
        self._response = envelope(chunk, self._request)
        self._suffix = suffix_of(chunk)
        self._emit("response.created", response=self._response)
        self._emit("response.in_progress", response=self._response)

    def _reason(self, text: str) -> None:
        last = self._items[-1] if self._items else None
        if not isinstance(last, _Reasoning):
            last = _Reasoning(len(self._items), self._suffix)
            self._open(last)
            self._emit_part("response.content_part.added", last, part={"type": "reasoning_text", "text": ""})
        last.text += text
        self._emit_part("response.reasoning_text.delta", last, delta=text)

    def _say(self, choice: JsonObject, delta: JsonObject) -> None:
        message = self._opened_message()
        if text := delta.get("content"):
            index = self._opened_text(message)
            logprobs = read_logprobs(choice) if self._wants_logprobs else []
            message.text += text
            if message.logprobs is not None:
                message.logprobs += logprobs
            self._emit_part("response.output_text.delta", message, index, delta=text, logprobs=logprobs)
        if refusal := delta.get("refusal"):
            if message.refusal_index is None:
                message.refusal_index = message.next_part()
                part = {"type": "refusal", "refusal": ""}
                self._emit_part("response.content_part.added", message, message.refusal_index, part=part)
            message.refusal += refusal
            self._emit_part("response.refusal.delta", message, message.refusal_index, delta=refusal)

    def _call(self, piece: JsonObject) -> None:
        index = piece.get("index") or 0
        function: JsonObject = piece.get("function") or {}
        call = self._calls.get(index)
        if call is None:
            call = _Call(len(self._items), self._suffix, index, piece.get("id"), function.get("name") or "")
            self._calls[index] = call
            self._open(call)
        if arguments := function.get("arguments"):
            call.arguments += arguments
            self._emit_item("response.function_call_arguments.delta", call, delta=arguments)

    def _opened_message(self) -> _Message:
        if self._message is None:
            self._message = _Message(len(self._items), self._suffix, [] if self._wants_logprobs else None)
            self._open(self._message)
        return self._message

    def _opened_text(self, message: _Message) -> int:
        if message.text_index is None:
            message.text_index = message.next_part()
            part = text_part("", [] if self._wants_logprobs else None)
            self._emit_part("response.content_part.added", message, message.text_index, part=part)
        return message.text_index

    def _open(self, item: _Item) -> None:
        last = self._items[-1] if self._items else None
        if last is not None and last is not self._message:
            self._close(last)
        self._items.append(item)
        self._emit("response.output_item.added", output_index=item.position, item=item.start())

    def _close(self, item: _Item) -> None:
        if item.closed:
            return
        item.closed = True
        if isinstance(item, _Reasoning):
            self._emit_part("response.reasoning_text.done", item, text=item.text)
            self._emit_part("response.content_part.done", item, part=item.whole()["content"][0])
        elif isinstance(item, _Call):
            self._emit_item("response.function_call_arguments.done", item, name=item.name, arguments=item.arguments)
        elif isinstance(item, _Message):
            self._close_message(item)
        self._emit("response.output_item.done", output_index=item.position, item=item.whole())

    def _close_message(self, message: _Message) -> None:
        if message.text_index is not None:
            index, logprobs = message.text_index, message.logprobs
            self._emit_part(
                "response.output_text.done", message, index, text=message.text, logprobs=message.logprobs or []
            )
            self._emit_part("response.content_part.done", message, index, part=text_part(message.text, logprobs))
        if message.refusal_index is not None:
            index = message.refusal_index
            self._emit_part("response.refusal.done", message, index, refusal=message.refusal)
            part = {"type": "refusal", "refusal": message.refusal}
            self._emit_part("response.content_part.done", message, index, part=part)

    def _emit_part(self, event: str, item: _Item, content_index: int = 0, **data: Any) -> None:
        self._emit_item(event, item, content_index=content_index, **data)

    def _emit_item(self, event: str, item: _Item, **data: Any) -> None:
        self._emit(event, item_id=item.id, output_index=item.position, **data)

    def _emit(self, event: str, **data: Any) -> None:
        self._events.append(server_sent(event, {"type": event, "sequence_number": self._sequence, **data}))
        self._sequence += 1

    def _flush(self) -> list[bytes]:
        events, self._events = self._events, []
        return events


class _Item(ABC):
    """An output item while it grows."""

    def __init__(self, position: int, suffix: str) -> None:
        self.position, self.suffix = position, suffix
        self.closed = False

    @cached_property
    def id(self) -> str:
        return str(self.whole()["id"])

    @abstractmethod
    def whole(self) -> Wire:
        """The item as it stands."""

    def start(self) -> Wire:
        """The item as it is announced: empty."""
        empty: Wire = {"content": []} if "content" in self.whole() else {"arguments": ""}
        return self.whole() | empty | {"status": "in_progress"}


class _Reasoning(_Item):
    text = ""

    def whole(self) -> Wire:
        return reasoning_item(self.suffix, self.text, self.position)


class _Message(_Item):
    def __init__(self, position: int, suffix: str, logprobs: list[Wire] | None) -> None:
        super().__init__(position, suffix)
        self.text = self.refusal = ""
        self.logprobs = logprobs
        self.text_index: int | None = None
        self.refusal_index: int | None = None

    def next_part(self) -> int:
        return (self.text_index is not None) + (self.refusal_index is not None)

    def whole(self) -> Wire:
        return message_item(self.suffix, self.text, self.refusal, self.logprobs)


class _Call(_Item):
    def __init__(self, position: int, suffix: str, index: int, call_id: str | None, name: str) -> None:
        super().__init__(position, suffix)
        self.index, self.call_id, self.name = index, call_id, name
        self.arguments = ""

    def whole(self) -> Wire:
        return call_item(self.suffix, self.index, self.call_id, self.name, self.arguments)
