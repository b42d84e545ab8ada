"""Writing reply bodies, whole and in pieces, with vLLM's field names."""

from __future__ import annotations

import codecs
import itertools
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from agentenv_tiny.generation import FinishReason, Generation
from agentenv_tiny.requests import Json, ReplyOptions
from agentenv_tiny.toolcalls import OPENING, ParsedText, ToolCall, parse_tool_calls
from agentenv_tiny.vocabulary import Vocabulary

_PROCESS = uuid.uuid4().hex[:12]
_COUNTER = itertools.count()


def new_id(prefix: str) -> str:
    """An id unique to this process and this call; a counter is ten times cheaper than a random number."""
    return f"{prefix}-{_PROCESS}{next(_COUNTER):08x}"


class TokenTexts:
    """How each token is shown in log-probability records: its text and its bytes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.texts = [token.decode(errors="replace") for token in vocabulary.literal_bytes]
        self.bytes = [list(token) for token in vocabulary.literal_bytes]
        # All of a chat record but the logprob itself, as JSON text: a reply holds one record for every sampled token.
        self._records = [
            json.dumps({"token": text, "bytes": data, "top_logprobs": []})[:-1] + ', "logprob": '
            for text, data in zip(self.texts, self.bytes, strict=True)
        ]

    def chat_logprobs_text(self, generation: Generation) -> str:
        """`chat_logprobs` as JSON text, put together from prepared pieces where no alternatives are asked for."""
        if generation.top_logprobs:
            return json.dumps(self.chat_logprobs(generation))
        records = self._records
        pairs = zip(generation.token_ids, generation.logprobs, strict=True)
        return '{"content": [' + ", ".join([f"{records[token]}{logprob!r}}}" for token, logprob in pairs]) + "]}"

    def chat_logprobs(self, generation: Generation, start: int = 0) -> Json:
        """The `logprobs` of a chat choice for the tokens from `start` on."""
        alternatives = generation.top_logprobs or [()] * len(generation.token_ids)
        return {
            "content": [
                {
                    "token": self.texts[token_id],
                    "logprob": logprob,
                    "bytes": self.bytes[token_id],
                    "top_logprobs": [
                        {"token": self.texts[other], "logprob": _finite(value), "bytes": self.bytes[other]}
                        for other, value in top
                    ],
                }
                for token_id, logprob, top in zip(
                    generation.token_ids[start:], generation.logprobs[start:], alternatives[start:], strict=True
                )
            ]
        }

    def completion_logprobs(self, generation: Generation, start: int = 0) -> Json:
        """The `logprobs` of a text completion choice for the tokens from `start` on."""
        texts = [self.texts[token_id] for token_id in generation.token_ids]
        offsets = list(itertools.accumulate((len(text) for text in texts), initial=0))[:-1]
        alternatives = generation.top_logprobs or [()] * len(texts)
        return {
            "tokens": texts[start:],
            "token_logprobs": list(generation.logprobs[start:]),
            "text_offset": offsets[start:],
            "top_logprobs": [
                {self.texts[other]: _finite(value) for other, value in top} for top in alternatives[start:]
            ],
        }


def _finite(logprob: float) -> float:
    """JSON has no minus infinity; vLLM writes -9999 for what the filters excluded."""
    return max(logprob, -9999.0)


def cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """The text before the first stop string, and that stop string.

    >>> cut_at_stop("12 END 34", ["34", "END"])
    ('12 ', 'END')
    """
    met = min(((position, stop) for stop in stops if (position := text.find(stop)) >= 0), default=None)
    return (text, None) if met is None else (text[: met[0]], met[1])


def stop_reason(stop: str | None) -> Json:
    """vLLM's field for the stop string that was met; left out where none was, as its clients allow."""
    return {} if stop is None else {"stop_reason": stop}


def chat_message(text: str, *, parse_tools: bool, single_call: bool = False) -> Json:
    """The assistant message of a sampled text; with `single_call` without further calls, as vLLM leaves them out."""
    parsed = parse_tool_calls(text) if parse_tools else ParsedText(text)
    message: Json = {"role": "assistant", "content": parsed.content}
    if parsed.tool_calls:
        message["tool_calls"] = [_call(call) for call in (parsed.tool_calls[:1] if single_call else parsed.tool_calls)]
    return message


def _call(call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": new_id("call"), "type": "function", "function": function}


def chat_finish_reason(reason: FinishReason, message: Json) -> str:
    """`tool_calls` when the message holds any, unless the request was aborted."""
    return "tool_calls" if message.get("tool_calls") and reason is not FinishReason.ABORT else reason.value


def usage(generation: Generation) -> Json:
    """Token counts."""
    prompt, sampled = len(generation.prompt_ids), len(generation.token_ids)
    return {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}


def weight_versions(generation: Generation) -> list[Json]:
    """Which weights sampled which tokens, [start, end) counted from the first sampled token."""
    return [{"version": span.version, "start": span.start, "end": span.end} for span in generation.versions]


class EventWriter:
    """Turns the growing answer of a stream into server-sent chunks.

    Text that may still turn out to be the start of a stop string or of a tool call is held back. A tool call is sent in
    one delta when the answer is finished and its JSON is known to be valid; else it is sent as content.
    """

    def __init__(
        self,
        *,
        model: str,
        chat: bool,
        parse_tools: bool,
        stops: Sequence[str],
        options: ReplyOptions,
        vocabulary: Vocabulary,
        texts: TokenTexts,
    ) -> None:
        self._head: Json = {
            "id": new_id("chatcmpl" if chat else "cmpl"),
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._chat, self._parse_tools, self._options = chat, parse_tools, options
        self._stops, self._vocabulary, self._texts = stops, vocabulary, texts
        self._watched = (*stops, OPENING) if parse_tools else tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._sent = 0
        self._decoded = self._reported = 0
        self._started = False

    def chunks(self, generation: Generation) -> Iterator[bytes]:
        """The events that the newest state of the answer adds."""
        if not self._started:
            self._started = True
            yield from self._opening(generation)
        table = self._vocabulary.token_bytes
        new_bytes = b"".join(table[index] for index in generation.token_ids[self._decoded :])
        self._decoded = len(generation.token_ids)
        finished = generation.finish_reason is not None
        self._text += self._decoder.decode(new_bytes, final=finished)
        if finished:
            yield from self._closing(generation)
            return
        text = self._releasable()
        if text or self._options.return_token_ids or self._options.logprobs:
            yield self._event(self._choice({"content": text} if self._chat else text, generation, None))

    def _opening(self, generation: Generation) -> Iterator[bytes]:
        prompt = {"prompt_token_ids": list(generation.prompt_ids)} if self._options.return_token_ids else {}
        if self._chat:
            delta = {"role": "assistant", "content": ""}
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
            yield self._event(choice, **prompt)
        elif prompt:
            yield self._event({"index": 0, "text": "", "logprobs": None, "finish_reason": None, **prompt})

    def _closing(self, generation: Generation) -> Iterator[bytes]:
        reason = generation.finish_reason or FinishReason.ABORT
        text, stop = cut_at_stop(self._text, self._stops)
        rest = text[self._sent :]
        if self._chat:
            delta = chat_message(rest, parse_tools=self._parse_tools, single_call=self._options.single_call)
            del delta["role"]
            for index, call in enumerate(delta.get("tool_calls", ())):
                call["index"] = index
            yield self._event(self._choice(delta, generation, chat_finish_reason(reason, delta)) | stop_reason(stop))
        else:
            yield self._event(self._choice(rest, generation, reason.value) | stop_reason(stop))
        if self._options.include_usage:
            yield _sse({**self._head, "choices": [], "usage": usage(generation)})
        yield b"data: [DONE]\n\n"

    def _choice(self, content: Any, generation: Generation, finish_reason: str | None) -> Json:
        choice: Json = {"index": 0, "delta" if self._chat else "text": content, "logprobs": None}
        choice["finish_reason"] = finish_reason
        if self._options.logprobs:
            write = self._texts.chat_logprobs if self._chat else self._texts.completion_logprobs
            choice["logprobs"] = write(generation, self._reported)
        if self._options.return_token_ids:
            choice["token_ids"] = list(generation.token_ids[self._reported :])
        if self._options.return_weight_versions and finish_reason is not None:
            choice["weight_versions"] = weight_versions(generation)
        self._reported = len(generation.token_ids)
        return choice

    def _releasable(self) -> str:
        """The unsent text up to where something watched for begins, or might."""
        end = len(self._text)
        for watched in self._watched:
            found = self._text.find(watched, self._sent)
            if found >= 0:
                end = min(end, found)
                continue
            for size in range(min(len(watched) - 1, len(self._text) - self._sent), 0, -1):
                if self._text.endswith(watched[:size]):
                    end = min(end, len(self._text) - size)
                    break
        text, self._sent = self._text[self._sent : end], max(self._sent, end)
        return text

    def _event(self, choice: Json, **extra: Any) -> bytes:
        return _sse({**self._head, "choices": [choice], **extra})


def _sse(payload: Json) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"
