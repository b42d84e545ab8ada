"""Server-sent events of the three routes that sample, chunk by chunk as vLLM cuts them."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentenv_tiny import Generation
from tests.support.fake_vllm.answers import Answer, Answering, Prompted
from tests.support.fake_vllm.hermes import HermesStream
from tests.support.fake_vllm.profiles import GenerateShape
from tests.support.fake_vllm.refusals import Json, Refusal
from tests.support.fake_vllm.replies import ReplyWriter, counts
from tests.support.fake_vllm.requests import ChatBody, CompletionBody, GenerateBody
from tests.support.fake_vllm.text import IncrementalText

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class _Choice:
    """What of one answer has been sent."""

    text: IncrementalText
    parser: HermesStream | None = None
    tokens: int = 0
    offset: int = 0
    finished: bool = False
    stop: str | None = None
    announced: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class Step:
    """What one generation adds."""

    choice: _Choice
    generation: Generation
    start: int
    text: str
    finish_reason: str | None
    stop_reason: str | int | None

    @property
    def new_ids(self) -> list[int]:
        return list(self.generation.token_ids[self.start :])


class EventStream(ABC):
    """The state that all routes share; subclasses write chunks."""

    def __init__(self, answering: Answering, writer: ReplyWriter, prompted: Prompted, request_id: str, model: str):
        self._answering, self._writer, self._prompted = answering, writer, prompted
        self._id, self._model = request_id, model
        self._created = int(time.time())
        self._choices = [_Choice(answering.incremental_text(prompted)) for _ in range(prompted.body.n or 1)]
        self._profile = writer.profile

    @abstractmethod
    def chunks(self, index: int, generation: Generation) -> Iterator[bytes]:
        """Events for the newest state of the `index`-th answer."""

    def closing(self) -> Iterator[bytes]:
        """Events after the last answer."""
        yield DONE

    @staticmethod
    def failure(refusal: Refusal) -> Iterator[bytes]:
        """What ends a stream that broke after its head was sent."""
        yield _event(refusal.body)
        yield DONE

    def _step(self, index: int, generation: Generation) -> Step:
        choice, start = self._choices[index], self._choices[index].tokens
        finished = generation.finish_reason is not None
        ended = finished and self._answering.ended_by_token(generation, self._prompted)
        new_ids = generation.token_ids[start:]
        for position, token_id in enumerate(new_ids, start=1):
            last = position == len(new_ids)
            choice.stop = choice.text.feed([token_id], ended_by_token=ended and last) or choice.stop
        choice.tokens = len(generation.token_ids)
        stop_reason = self._answering.stop_reason(generation, self._prompted, choice.stop) if finished else None
        reason = generation.finish_reason.value if generation.finish_reason else None
        return Step(choice, generation, start, choice.text.delta(finished=finished), reason, stop_reason)

    def _fingerprint(self, finished: bool, include_usage: bool) -> Json:
        shown = finished and not include_usage and self._writer.fingerprint is not None
        return {"system_fingerprint": self._writer.fingerprint} if shown else {}

    def _usage_chunk(self, kind: str, prompts: list[int], sampled: int) -> bytes:
        chunk = {**self._head(kind), "choices": [], "usage": counts(sum(prompts), sampled)}
        if self._writer.fingerprint is not None:
            chunk["system_fingerprint"] = self._writer.fingerprint
        return _event(chunk)

    def _head(self, kind: str) -> Json:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


class ChatStream(EventStream):
    """/v1/chat/completions. `parses`: a tool parser is configured, whether or not this request has tools."""

    KIND = "chat.completion.chunk"

    def __init__(
        self,
        answering: Answering,
        writer: ReplyWriter,
        prompted: Prompted,
        request_id: str,
        model: str,
        *,
        body: ChatBody,
        parses: bool,
        prompt_text: str,
    ) -> None:
        super().__init__(answering, writer, prompted, request_id, model)
        self._body, self._parses, self._prompt_text = body, parses, prompt_text
        self._opened = False
        if parses and body.calls_tools:
            for choice in self._choices:
                choice.parser = HermesStream()

    def chunks(self, index: int, generation: Generation) -> Iterator[bytes]:
        if not self._opened:
            self._opened = True
            yield from self._opening(generation)
        step = self._step(index, generation)
        if not step.text and not step.new_ids and not step.start:
            return  # so a request aborted before its first token never hears of an end but [DONE]
        body = self._body
        delta = self._delta(step)
        if delta is None:
            if step.finish_reason is None and body.alternatives is None and not body.return_token_ids:
                return
            delta = {}
        logprobs = None
        if body.alternatives is not None:
            as_ids = bool(body.return_tokens_as_token_ids)
            logprobs = self._writer.logprobs.chat(generation, body.alternatives, as_ids=as_ids, start=step.start)
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": self._reason(step),
            "token_ids": step.new_ids if body.return_token_ids else None,
        }
        if step.finish_reason is not None:
            choice |= {"stop_reason": step.stop_reason, **self._writer.asked_versions(body, generation)}
        chunk = {**self._head(self.KIND), "choices": [choice]}
        if self._profile.weight_versions:
            chunk["kv_transfer_params"] = None
        chunk |= self._fingerprint(step.finish_reason is not None, body.include_usage)
        if body.continuous_usage:
            chunk["usage"] = self._continuous(step.choice.tokens)
        yield _event(chunk)

    def closing(self) -> Iterator[bytes]:
        if self._body.include_usage:
            sampled = sum(choice.tokens for choice in self._choices)
            yield self._usage_chunk(self.KIND, [len(self._prompted.prompt_ids)], sampled)
        yield DONE

    def _opening(self, generation: Generation) -> Iterator[bytes]:
        named: Json = {"prompt_token_ids": list(generation.prompt_ids) if self._body.return_token_ids else None}
        if self._profile.prompt_text:
            named["prompt_text"] = self._prompt_text if self._body.return_prompt_text else None
        if self._body.continuous_usage:
            named["usage"] = self._continuous(0)
        for index in range(len(self._choices)):
            delta = {"role": self._body.answering_role, "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            yield _event({**self._head(self.KIND), "choices": [choice], **named})

    def _delta(self, step: Step) -> Json | None:
        if step.choice.parser is None:
            shown = step.text or not self._parses
            return {"content": step.text} if shown else None
        delta = step.choice.parser.feed(step.text)
        calls = delta.get("tool_calls") if delta else None
        if calls and step.finish_reason is not None:
            calls[-1]["function"].setdefault("arguments", "")
        if calls and self._body.parallel_tool_calls is False:
            assert delta is not None
            delta["tool_calls"] = [call for call in calls if call["index"] == 0]
        return delta

    def _reason(self, step: Step) -> str | None:
        called = step.choice.parser is not None and step.choice.parser.called
        return "tool_calls" if called and step.finish_reason == "stop" else step.finish_reason

    def _continuous(self, sampled: int) -> Json:
        details = [name for name in self._profile.usage_nulls if name == "completion_tokens_details"]
        return {**counts(len(self._prompted.prompt_ids), sampled), **dict.fromkeys(details)}


class CompletionStream(EventStream):
    """/v1/completions, one prompt."""

    KIND = "text_completion"

    def __init__(
        self,
        answering: Answering,
        writer: ReplyWriter,
        prompted: Prompted,
        request_id: str,
        model: str,
        *,
        body: CompletionBody,
    ) -> None:
        super().__init__(answering, writer, prompted, request_id, model)
        self._body = body

    def chunks(self, index: int, generation: Generation) -> Iterator[bytes]:
        body, step = self._body, self._step(index, generation)
        prompt_ids = None
        if body.return_token_ids and not step.choice.announced:
            step.choice.announced, prompt_ids = True, list(generation.prompt_ids)
        if not step.text and not step.new_ids and not step.start:
            return
        choice = {
            "index": index,
            "text": step.text,
            "logprobs": self._logprobs(step),
            "finish_reason": step.finish_reason,
            "stop_reason": step.stop_reason,
            "prompt_token_ids": prompt_ids,
            "token_ids": step.new_ids if body.return_token_ids else None,
        }
        chunk = {**self._head(self.KIND), "choices": [choice]}
        if self._profile.weight_versions:
            asked = body.return_weight_versions and step.finish_reason is not None
            choice["weight_versions"] = self._writer.versions(generation) if asked else None
            chunk["kv_transfer_params"] = None
        chunk |= self._fingerprint(step.finish_reason is not None, body.include_usage)
        if body.continuous_usage:
            chunk["usage"] = counts(len(self._prompted.prompt_ids), step.choice.tokens)
        elif self._profile.stream_nulls:
            chunk["usage"] = None
        yield _event(chunk)

    def closing(self) -> Iterator[bytes]:
        if self._body.include_usage:
            sampled = sum(choice.tokens for choice in self._choices)
            yield self._usage_chunk(self.KIND, [len(self._prompted.prompt_ids)], sampled)
        yield DONE

    def _logprobs(self, step: Step) -> Json | None:
        if self._body.logprobs is None:
            return None
        written = self._writer.logprobs.completion(
            step.generation,
            self._body.logprobs,
            as_ids=bool(self._body.return_tokens_as_token_ids),
            start=step.start,
            offset=step.choice.offset,
        )
        step.choice.offset += sum(map(len, written["tokens"]))
        return written


class GenerateStream(EventStream):
    """/inference/v1/generate."""

    def __init__(
        self,
        answering: Answering,
        writer: ReplyWriter,
        prompted: Prompted,
        request_id: str,
        model: str,
        *,
        body: GenerateBody,
    ) -> None:
        super().__init__(answering, writer, prompted, request_id, model)
        self._body, self._announced = body, False
        options = body.stream_options
        self._usage = bool(options and options.include_usage)
        self._continuous = self._usage and bool(options and options.continuous_usage_stats)

    def chunks(self, index: int, generation: Generation) -> Iterator[bytes]:
        step = self._step(index, generation)
        if not (step.new_ids or step.finish_reason or (self._body.output_mode == "text" and step.text)):
            return
        answer = Answer(index, generation, step.text, step.finish_reason or "", step.stop_reason)
        usage = counts(len(generation.prompt_ids), step.choice.tokens) if self._continuous else None
        if usage is not None:
            usage |= dict.fromkeys(self._profile.usage_nulls)
        choice = self._writer.generate_choice(self._body, answer, whole=False, start=step.start)
        chunk: Json = {"request_id": self._id, "usage": usage, "choices": [choice], **self._mode()}
        if self._body.return_token_ids and not self._announced:
            self._announced = True
            chunk["prompt_token_ids"] = list(generation.prompt_ids)
        yield _event(chunk)

    def closing(self) -> Iterator[bytes]:
        if self._usage:
            sampled = sum(choice.tokens for choice in self._choices)
            usage = counts(len(self._prompted.prompt_ids), sampled)
            yield _event({"request_id": self._id, "usage": usage, "choices": [], **self._mode()})
        yield DONE

    def _mode(self) -> Json:
        return {"output_mode": self._body.output_mode} if self._profile.generate is GenerateShape.BY_TOKEN else {}


def _event(payload: Json) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"
