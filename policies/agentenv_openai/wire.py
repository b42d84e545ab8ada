"""What goes over the wire: requests written, answers read. Nothing here waits or retries."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.episode import Usage
from agentenv.errors import EnvironmentFailure, ModelError
from agentenv.messages import MalformedMessageError, Message, Role, Wire
from agentenv.policy.contract import Completion, Sampling
from agentenv.tokens import TokenRecord, TokenRecordError, VersionSpan
from agentenv.tools import ToolSpec

TOKEN_FIELDS = ("return_token_ids", "return_weight_versions", "logprobs")
"""What `Sampling.tokens` asks for: vLLM's names, of which an endpoint may refuse some."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)


def encode_request(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    sampling: Sampling,
    refused: Collection[str] = (),
) -> bytes:
    """The body of a chat completion request; `refused` are the token fields this endpoint does not take.

    Raises:
        EnvironmentFailure: a message or tool of the environment holds something that is no JSON.
    """
    body: Wire = {"model": model, "messages": [message.to_wire() for message in messages]}
    if tools:
        body["tools"] = [tool.to_wire() for tool in tools]
    for name in ("temperature", "top_p", "top_k", "max_tokens", "seed"):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.tokens:
        body.update({name: True for name in TOKEN_FIELDS if name not in refused})
    body.update(sampling.extra)
    try:
        return _ENCODER.encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EnvironmentFailure(f"the conversation cannot be sent as JSON: {error}") from error


class NotACompletion(Exception):
    """The body is no chat completion at all: a proxy's page, an error with status 200, an aborted generation."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One parsed chat completion body: its only choice and what surrounds it."""

    body: Mapping[str, Any]
    choice: Mapping[str, Any]
    message: Mapping[str, Any]
    finish_reason: str

    @classmethod
    def parse(cls, raw: bytes) -> Answer:
        """Raises `NotACompletion` for anything that is not the JSON of a finished chat completion."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise NotACompletion(f"the body is no JSON ({error}): {shorten(raw)}") from error
        try:
            choice = body["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise NotACompletion(f"the body is no chat completion: {shorten(raw)}") from None
        if not isinstance(message, Mapping):
            raise NotACompletion(f"the body is no chat completion: {shorten(raw)}")
        if reason in ("abort", "error"):  # vLLM answers so when its weights are replaced under a request
            raise NotACompletion(f"the endpoint gave the answer up (finish_reason {reason!r})")
        return cls(body, choice, message, str(reason or "stop"))

    def completion(self, turn: int, headers: Mapping[str, str], *, tokens: bool, attempts: int) -> Completion:
        """The answer as a `Completion`.

        Raises:
            ModelError: a malformed assistant message, or token ids and logprobs that do not fit together.
        """
        usage = _usage(self.body)
        record = self._tokens(headers, usage) if tokens else None
        model = str(self.body.get("model") or "")
        return Completion(self._message(turn), self.finish_reason, usage, record, model, attempts)

    def _message(self, turn: int) -> Message:
        wire = {**self.message, "role": self.message.get("role") or "assistant"}
        try:
            if wire.get("tool_calls"):
                wire["tool_calls"] = [_tool_call(call, turn, index) for index, call in enumerate(wire["tool_calls"])]
            message = Message.from_wire(wire)
        except (MalformedMessageError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the endpoint sent a malformed assistant message: {error}") from error
        if message.role is not Role.ASSISTANT:
            raise ModelError(f"the endpoint answered as {message.role.value!r} instead of 'assistant'")
        return message

    def _tokens(self, headers: Mapping[str, str], usage: Usage) -> TokenRecord | None:
        """The token record; `None` when the endpoint gives no ids at all."""
        prompt: Any = self.body.get("prompt_token_ids") or self.choice.get("prompt_token_ids")
        sampled: Any = self.choice.get("token_ids")
        if prompt is None and sampled is None:
            return None
        logprobs = self._logprobs()
        _check_counts(prompt, sampled, logprobs, usage)
        try:
            spans = self._versions(headers, len(sampled))
            return TokenRecord(tuple(prompt), tuple(sampled), tuple(logprobs or ()), spans)
        except TokenRecordError as error:
            raise ModelError(f"the endpoint's token record does not fit together: {error}") from error

    def _logprobs(self) -> list[float] | None:
        try:
            content = (self.choice.get("logprobs") or {}).get("content")
            return None if content is None else [float(entry["logprob"]) for entry in content]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the endpoint's logprobs cannot be read: {type(error).__name__}: {error}") from error

    def _versions(self, headers: Mapping[str, str], sampled: int) -> tuple[VersionSpan, ...]:
        spans = self.choice.get("weight_versions")
        if spans:
            try:
                return tuple(VersionSpan(_version(span["version"]), span["start"], span["end"]) for span in spans)
            except (KeyError, TypeError) as error:
                raise ModelError(
                    f"weight_versions must be a list of version, start, end, got {spans!r:.200}"
                ) from error
        named = self.choice.get("weight_version", self.body.get("weight_version", headers.get("X-Weight-Version")))
        return (VersionSpan(_version(named), 0, sampled),)


def _check_counts(prompt: Any, sampled: Any, logprobs: list[float] | None, usage: Usage) -> None:
    """Raises `ModelError` unless prompt ids, sampled ids and logprobs are all there and as many as they should be."""
    for name, ids in (("prompt_token_ids", prompt), ("token_ids", sampled)):
        if ids is None:
            other = "token_ids" if name == "prompt_token_ids" else "prompt_token_ids"
            raise ModelError(f"the endpoint sent {other} but no {name}; training needs both (vLLM 0.10.2 or newer)")
        if not isinstance(ids, list) or not all(type(value) is int for value in ids):
            raise ModelError(f"the endpoint's {name} are no list of whole numbers: {ids!r:.120}")
    given = len(logprobs) if logprobs is not None else 0
    if given != len(sampled):
        raise ModelError(f"the endpoint sent {len(sampled)} token ids but {given} logprobs")
    if usage.completion_tokens and usage.completion_tokens != len(sampled):
        raise ModelError(
            f"the endpoint counts {usage.completion_tokens} completion tokens but sent {len(sampled)} token ids "
            f"and {given} logprobs"
        )
    if not all(map(math.isfinite, logprobs or ())):
        raise ModelError("the endpoint sent a logprob that is not finite")


def _version(value: Any) -> int:
    """A weight version as a whole number; servers without one say nothing, or "default"."""
    if value is None or value == "default":
        return 0
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ModelError(f"the endpoint's weight version {value!r:.80} is no whole number") from None


def _usage(body: Mapping[str, Any]) -> Usage:
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return Usage()
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Usage(prompt if type(prompt) is int else 0, completion if type(completion) is int else 0)


def _tool_call(call: Any, turn: int, index: int) -> Any:
    """Fills what lenient servers leave out: an id, and arguments as text rather than as an object."""
    function = call.get("function")
    if isinstance(function, Mapping) and not isinstance(function.get("arguments", ""), str):
        call = {**call, "function": {**function, "arguments": json.dumps(function["arguments"])}}
    return call if call.get("id") else {**call, "id": f"call_{turn}_{index}"}


_TOO_LONG = (
    "context_length_exceeded",
    "exceed_context_size",
    "context length",
    "context window",
    "context size",
    "maximum model length",
    "max_model_len",
    "prompt is too long",
)


def says_too_long(status: int, words: str) -> bool:
    """Whether an error means that the conversation does not fit the model's context."""
    lowered = words.lower()
    return status in (400, 413, 422) and any(phrase in lowered for phrase in _TOO_LONG)


def error_words(raw: bytes) -> str:
    """The server's own words in an error body, in whichever of the common shapes it has, shortened."""
    try:
        found = json.loads(raw)
        for key in ("error", "message", "detail"):
            while isinstance(found, Mapping) and key in found:
                code = found.get("code")
                found = found[key]
                if key == "message" and isinstance(found, str) and isinstance(code, str) and code not in found:
                    found = f"{found} ({code})"
    except (ValueError, RecursionError):
        found = raw
    return shorten(found if isinstance(found, bytes | str) else json.dumps(found))


def shorten(text: bytes | str, limit: int = 300) -> str:
    """One line of at most `limit` characters."""
    line = " ".join((text[: 4 * limit].decode(errors="replace") if isinstance(text, bytes) else text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
