"""What both translators share: refusing, reading untrusted JSON, and writing server-sent events."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.errors import AgentenvError
from agentenv.messages import Wire

JsonObject = Mapping[str, Any]


class ProtocolError(AgentenvError):
    """A request that cannot be said in chat completions. `param` is the path of what is to blame: `input[2].type`."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param


VLLM_FIELDS = frozenset(
    {
        "allowed_token_ids",
        "bad_words",
        "cache_salt",
        "chat_template_kwargs",
        "frequency_penalty",
        "ignore_eos",
        "include_reasoning",
        "include_stop_str_in_output",
        "logit_bias",
        "min_p",
        "min_tokens",
        "mm_processor_kwargs",
        "presence_penalty",
        "priority",
        "repetition_penalty",
        "seed",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "stop_token_ids",
        "structured_outputs",
        "thinking_token_budget",
        "top_k",
        "truncate_prompt_tokens",
        "vllm_xargs",
    }
)
"""Parameters that vLLM's chat endpoint knows beyond OpenAI's; clients send them as `extra_body`."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What becomes of a protocol's top-level parameters.

    Attributes:
        same: its name there, and its name in a chat request; the value is passed on as it is.
        handled: translated by code of their own.
        ignored: changes nothing about the answer; name and reason.
        neutral: refused, except at a value (or several) that means the same as leaving it out.
    """

    same: Mapping[str, str]
    handled: frozenset[str]
    ignored: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]

    def start(self, body: JsonObject) -> Wire:
        """A chat request with the parameters that are passed on as they are.

        Raises:
            ProtocolError: a parameter that has no counterpart, or that nobody here has heard of.
        """
        chat: Wire = {}
        for name, value in body.items():
            if value is None or name in self.handled or name in self.ignored:
                continue
            if name in self.same:
                chat[self.same[name]] = value
            elif name in VLLM_FIELDS:
                chat[name] = value
            elif name in self.neutral:
                if value not in self.neutral[name]:
                    raise ProtocolError(f"{shorten(value)} has no counterpart in chat completions; leave it out", name)
            else:
                raise ProtocolError("unknown parameter: it is not passed on, so it must not be sent", name)
        return chat


def as_object(value: object, param: str) -> JsonObject:
    if not isinstance(value, Mapping):
        raise ProtocolError(f"expected an object, got {shorten(value)}", param)
    return value


def as_objects(value: object, param: str) -> Sequence[JsonObject]:
    if not isinstance(value, list):
        raise ProtocolError(f"expected a list of objects, got {shorten(value)}", param)
    return [as_object(entry, f"{param}[{index}]") for index, entry in enumerate(value)]


def as_text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"expected a string, got {shorten(value)}", param)
    return value


def refuse_unknown(entry: JsonObject, known: Collection[str], param: str) -> None:
    """Refuses a field that is set and not among `known`: what is not translated must not be sent."""
    for name, value in entry.items():
        if value is not None and name not in known:
            raise ProtocolError("has no counterpart in chat completions", f"{param}.{name}")


def refuse_unless(entry: JsonObject, names: Mapping[str, tuple[Any, ...]], param: str) -> None:
    """Refuses each of `names` that `entry` gives another value than null or one of those listed."""
    for name, neutral in names.items():
        value = entry.get(name)
        if value is not None and value not in neutral:
            raise ProtocolError(f"{shorten(value)} has no counterpart in chat completions", f"{param}.{name}")


def shorten(value: object, limit: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def server_sent(event: str, data: JsonObject) -> bytes:
    """One server-sent event, complete with its name and the empty line after it."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def first_choice(reply: JsonObject) -> JsonObject:
    """The only choice of a chat reply or chunk; empty where there is none, as in a stream's usage chunk."""
    choices = reply.get("choices")
    return choices[0] if choices else {}


def reasoning_of(message: JsonObject) -> str:
    """What a message or delta thought aloud: `reasoning` in new servers, `reasoning_content` in older ones."""
    return message.get("reasoning") or message.get("reasoning_content") or ""


def suffix_of(reply: JsonObject) -> str:
    """The part of a chat completion's id that identifies it, for ids of another look: `chatcmpl-4f2` to `4f2`."""
    return str(reply.get("id") or "0").removeprefix("chatcmpl-")
