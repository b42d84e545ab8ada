"""Whole reply bodies, with exactly the fields of the release."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from agentenv_tiny import Generation
from tests.support.fake_vllm.answers import Answer
from tests.support.fake_vllm.engines import Engines
from tests.support.fake_vllm.hermes import CLOSING, OPENING, new_call_id
from tests.support.fake_vllm.logprobs import LogprobWriter
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.profiles import GenerateShape
from tests.support.fake_vllm.refusals import Json
from tests.support.fake_vllm.requests import ChatBody, CompletionBody, GenerateBody
from tests.support.fake_vllm.text import TokenTexts

_CALL = re.compile(f"{OPENING}(.*?){CLOSING}|{OPENING}(.*)", re.DOTALL)


class ReplyWriter:
    """Bodies of the routes that sample."""

    def __init__(self, engines: Engines, texts: TokenTexts, options: ServerOptions) -> None:
        self.profile = options.profile
        self.logprobs = LogprobWriter(texts)
        self._engines = engines
        self.fingerprint = f"vllm-{self.profile.version}-{0xFA4E:08x}" if self.profile.fingerprint else None

    def chat(self, body: ChatBody, request_id: str, model: str, answers: Sequence[Answer], prompt_text: str) -> Json:
        """POST /v1/chat/completions."""
        generation = answers[0].generation
        filled: Json = {"system_fingerprint": self.fingerprint}
        if body.return_token_ids:
            filled["prompt_token_ids"] = list(generation.prompt_ids)
        if body.return_prompt_text and self.profile.prompt_text:
            filled["prompt_text"] = prompt_text
        return {
            "id": request_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [self._chat_choice(body, answer) for answer in answers],
            "usage": self.usage([generation], answers),
            **dict.fromkeys(self.profile.chat_nulls),
            **filled,
        }

    def _chat_choice(self, body: ChatBody, answer: Answer) -> Json:
        message = self.message(answer.text, parse_tools=body.calls_tools) | {"role": body.answering_role}
        if message.get("tool_calls") and body.parallel_tool_calls is False:
            message["tool_calls"] = message["tool_calls"][:1]
        filled: Json = {"stop_reason": answer.stop_reason}
        if body.alternatives is not None:
            as_ids = bool(body.return_tokens_as_token_ids)
            filled["logprobs"] = self.logprobs.chat(answer.generation, body.alternatives, as_ids=as_ids)
        if body.return_token_ids:
            filled["token_ids"] = list(answer.generation.token_ids)
        return {
            "index": answer.index,
            "message": message,
            "finish_reason": "tool_calls" if message.get("tool_calls") else answer.finish_reason,
            **dict.fromkeys(self.profile.chat_choice_nulls),
            **filled,
            **self.asked_versions(body, answer.generation),
        }

    def message(self, text: str, *, parse_tools: bool) -> Json:
        """The assistant message; whoever parses tools knows that a parser is configured."""
        content, calls = parse_calls(text) if parse_tools else (text, [])
        message = {"role": "assistant", "content": content, **dict.fromkeys(self.profile.message_nulls)}
        if calls or self.profile.empty_tool_calls:
            message["tool_calls"] = calls
        return message

    def completion(
        self, body: CompletionBody, request_id: str, model: str, answers: Sequence[Answer], prompts: int
    ) -> Json:
        """POST /v1/completions; the answers of `prompts` prompts, one after the other."""
        each = len(answers) // prompts
        generations = [answers[first].generation for first in range(0, len(answers), each)]
        return {
            "id": request_id,
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "choices": [self._completion_choice(body, answer) for answer in answers],
            "usage": self.usage(generations, answers),
            **dict.fromkeys(self.profile.completion_nulls),
            "system_fingerprint": self.fingerprint,
        }

    def _completion_choice(self, body: CompletionBody, answer: Answer) -> Json:
        generation = answer.generation
        filled: Json = {"stop_reason": answer.stop_reason}
        if body.logprobs is not None:
            as_ids = bool(body.return_tokens_as_token_ids)
            filled["logprobs"] = self.logprobs.completion(generation, body.logprobs, as_ids=as_ids)
        if body.return_token_ids:
            filled |= {"token_ids": list(generation.token_ids), "prompt_token_ids": list(generation.prompt_ids)}
        return {
            "index": answer.index,
            "text": answer.text,
            "finish_reason": answer.finish_reason,
            **dict.fromkeys(self.profile.completion_choice_nulls),
            **filled,
            **self.asked_versions(body, generation),
        }

    def generate(self, body: GenerateBody, request_id: str, model: str, answers: Sequence[Answer]) -> Json:
        """POST /inference/v1/generate."""
        shape = self.profile.generate
        generation = answers[0].generation
        reply: Json = {
            "request_id": request_id,
            "choices": [self.generate_choice(body, answer, whole=True) for answer in answers],
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        }
        if shape in (GenerateShape.COUNTED, GenerateShape.BY_TOKEN):
            usage = self.usage([generation], answers)
            reply |= {"model": model, "created": int(time.time()), "usage": usage, "ec_transfer_params": None}
        if shape is GenerateShape.BY_TOKEN:
            reply |= {
                "output_mode": body.output_mode,
                "prompt_token_id_logprobs": None,
                "prompt_token_ids": list(generation.prompt_ids) if body.return_token_ids else None,
                "mm_placeholders": None,
                "metrics": None,
            }
        return reply

    def generate_choice(self, body: GenerateBody, answer: Answer, *, whole: bool, start: int = 0) -> Json:
        """A choice, or of a stream what is new from token `start` on."""
        shape, generation = self.profile.generate, answer.generation
        count = body.sampling_params.logprobs
        choice: Json = {
            "index": answer.index,
            "finish_reason": answer.finish_reason or None,
            "token_ids": list(generation.token_ids[start:]),
            "logprobs": None,
        }
        if shape is not GenerateShape.BY_TOKEN:
            if count is not None:
                choice["logprobs"] = self.logprobs.by_placeholder(generation, count, start=start)
            if "routed_experts" in self.profile.chat_choice_nulls and (whole or shape is GenerateShape.COUNTED):
                choice["routed_experts"] = None
            if shape is GenerateShape.COUNTED:
                choice["sampling_mask"] = None
            return choice
        finished = bool(answer.finish_reason)
        choice |= {"stop_reason": answer.stop_reason, "routed_experts": None, "sampling_mask": None}
        choice["weight_versions"] = self.versions(generation) if finished else None
        if body.output_mode == "text":
            choice["text"] = answer.text
        if count is not None and body.output_mode == "text":
            choice["logprobs"] = self.logprobs.chat(generation, max(count, 1), as_ids=False, start=start)
        elif count is not None:
            choice["logprobs"] = self.logprobs.by_token(generation, count, start=start)
        return choice

    def usage(self, prompts: Sequence[Generation], answers: Sequence[Answer]) -> Json:
        """Counts of a whole reply."""
        prompt = sum(len(each.prompt_ids) for each in prompts)
        sampled = sum(len(answer.generation.token_ids) for answer in answers)
        return {**counts(prompt, sampled), **dict.fromkeys(self.profile.usage_nulls)}

    def versions(self, generation: Generation) -> list[Json] | None:
        """Which weights sampled which tokens, [start, end); None when there are no tokens."""
        spans = [
            {"version": self._engines.label_of(span.version), "start": span.start, "end": span.end}
            for span in generation.versions
        ]
        return spans or None

    def asked_versions(self, body: ChatBody | CompletionBody, generation: Generation) -> Json:
        """`weight_versions`, in releases that have it."""
        if not self.profile.weight_versions:
            return {}
        return {"weight_versions": self.versions(generation) if body.return_weight_versions else None}


def counts(prompt: int, sampled: int) -> Json:
    """The three numbers of every usage."""
    return {"prompt_tokens": prompt, "total_tokens": prompt + sampled, "completion_tokens": sampled}


def parse_calls(text: str, new_id: Any = new_call_id) -> tuple[str | None, list[Json]]:
    """vLLM's hermes parser on a whole answer: all calls are JSON (Python's, with Infinity), or all is content."""
    if OPENING not in text:
        return text, []
    try:
        bodies = [json.loads(closed or unclosed) for closed, unclosed in _CALL.findall(text)]
        named = [(body["name"], json.dumps(body["arguments"], ensure_ascii=False)) for body in bodies]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text, []
    if not all(isinstance(name, str) for name, _ in named):
        return text, []
    content = text[: text.find(OPENING)]
    calls = [
        {"id": new_id(), "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in named
    ]
    return (content if content.strip() else None), calls
