"""A server's template, tokenizer and parsers in this process: a real tokenizer, real Jinja, and no HTTP between."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentenv.gateway.calls import Continuation
from agentenv.gateway.continuation import Conversations, Plan, Rendered, RendererError
from agentenv.gateway.continuation.exact import pack
from agentenv.messages import Wire

END = "<|im_end|>"
TOOLS = [
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
]


@cache
def tokenizer() -> Any:
    """A byte-level BPE with the special tokens of the templates, and merges of line breaks."""
    from tokenizers import AddedToken

    from agentenv_tiny.corpus import protocol_corpus
    from agentenv_tiny.tokenizer import build_tokenizer

    built = build_tokenizer([*protocol_corpus(), *["a\n\nb\n\nc\n\n\nd"] * 50])
    special = (END, "<|im_start|>", "<|User|>", "<|Assistant|>", "<|begin|>", "<|start|>", "<|sep|>", "<|endoftext|>")
    built.add_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    built.add_tokens([AddedToken(token, normalized=False, special=False) for token in ("<think>", "</think>")])
    return built


class LocalModel:
    """The renderer of one template, and the chat route's way of reading what was sampled."""

    def __init__(self, template: str, *, reasons: bool = False) -> None:
        self._template = template
        self._reasons = reasons
        self.requests: Counter[str] = Counter()
        self.is_ready = True
        self.broken = False
        self.end = tokenizer().convert_tokens_to_ids(END)

    async def ready(self) -> bool:
        return self.is_ready

    async def render(
        self,
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        *,
        add_generation_prompt: bool,
        options: Mapping[str, Any],
    ) -> Rendered:
        self._count("render")
        return Rendered(self.prompt(messages, tools, add_generation_prompt=add_generation_prompt), max_tokens=100)

    async def spell(self, ids: Sequence[int]) -> str:
        self._count("spell")
        return str(tokenizer().decode(list(ids), skip_special_tokens=False))

    async def read_answer(
        self,
        prompt_ids: Sequence[int],
        sampled_ids: Sequence[int],
        messages: Sequence[Wire],
        tools: Sequence[Wire],
        options: Mapping[str, Any],
    ) -> Wire:
        self._count("read_answer")
        return self.read(sampled_ids)

    def prompt(
        self, messages: Sequence[Wire], tools: Sequence[Wire] = (), *, add_generation_prompt: bool = True
    ) -> list[int]:
        """The ids of a chat request."""
        text = tokenizer().apply_chat_template(
            [_for_template(message) for message in messages],
            tools=list(tools) or None,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        return list(tokenizer().encode(text, add_special_tokens=False))

    def read(self, ids: Sequence[int]) -> Wire:
        """The message the chat route makes of sampled ids, as vLLM with the hermes and qwen3 parsers does."""
        text = str(tokenizer().decode([token for token in ids if token != self.end], skip_special_tokens=False))
        message: Wire = {"role": "assistant", "content": text, "refusal": None}
        if self._reasons and text.startswith("<think>"):
            thought, _, text = text.removeprefix("<think>").partition("</think>")
            message |= {"reasoning": thought, "content": text or None}
        calls = re.findall(r"<tool_call>(.*?)</tool_call>", text, re.DOTALL)
        if calls:
            parsed = [json.loads(call) for call in calls]
            message["content"] = text[: text.find("<tool_call>")] or None
            message["tool_calls"] = [
                {
                    "id": f"call_{number}",
                    "type": "function",
                    "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
                }
                for number, call in enumerate(parsed)
            ]
        return message

    def _count(self, request: str) -> None:
        self.requests[request] += 1
        if self.broken:
            raise RendererError("out of order")


def _for_template(message: Wire) -> Wire:
    """As vLLM hands messages to a template: arguments as objects, reasoning under both names."""
    message = dict(message)
    if message.get("reasoning"):
        message["reasoning_content"] = message["reasoning"]
    if message.get("tool_calls"):
        message["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]
    return message


def canonical_ids(text: str) -> list[int]:
    """What the tokenizer makes of a text."""
    return list(tokenizer().encode(text, add_special_tokens=False))


def other_ids(text: str, seed: int = 0) -> list[int]:
    """Ids of the same text, cut into tokens at random: what a model at a high temperature samples."""
    if not text:
        return []
    cut = random.Random(seed)
    pieces, at = [], 0
    while at < len(text):
        step = cut.randint(1, 4)
        pieces.append(text[at : at + step])
        at += step
    return [token for piece in pieces for token in canonical_ids(piece)]


@dataclass(frozen=True)
class Held:
    """The tokens of one call."""

    prompt: bytes
    sampled: bytes

    def ids(self) -> bytes:
        return self.prompt + self.sampled


@dataclass
class Asked:
    """One call: what plans were guessed, which was proven, what it really was, its prompt and what it sampled."""

    guesses: list[Plan]
    planned: Plan
    plan: Plan
    prompt: list[int]
    sampled: list[int]
    answer: Wire

    @property
    def whole(self) -> list[int]:
        return self.prompt + self.sampled

    @property
    def tokens(self) -> Held:
        return Held(pack(self.prompt), pack(self.sampled))


class Agent:
    """A client of one session: it asks, and the model is made to sample the given ids."""

    def __init__(self, model: LocalModel, tools: Sequence[Wire] = ()) -> None:
        self.model = model
        self.tools = tools
        self.conversations = Conversations()

    async def ask(
        self,
        messages: Sequence[Wire],
        sampled: Sequence[int],
        *,
        finish_reason: str = "stop",
        options: Mapping[str, Any] | None = None,
        tools: Sequence[Wire] | None = None,
        answer: Wire | None = None,
        recorded: bool = True,
    ) -> Asked:
        """A call that answers `sampled`; `answer` is delivered instead of what these ids read as."""
        tools = self.tools if tools is None else tools
        *guesses, planned = [
            plan async for plan in self.conversations.plans(messages, tools, options or {}, self.model)
        ]
        assert planned.proven
        assert not any(guess.proven for guess in guesses)
        assert (planned.prompt_ids is not None) == (planned.continuation is Continuation.REALIGNED)
        prompt = list(planned.prompt_ids) if planned.prompt_ids is not None else self.model.prompt(messages, tools)
        delivered = answer or self.model.read(sampled)
        asked = Asked(guesses, planned, planned, prompt, list(sampled), delivered)
        tokens = asked.tokens if recorded else None
        asked.plan = self.conversations.learn(planned, delivered, tokens, finish_reason)
        return asked


def user(text: str) -> Wire:
    return {"role": "user", "content": text}


def result(text: str, call: str = "call_0") -> Wire:
    return {"role": "tool", "tool_call_id": call, "content": text}
