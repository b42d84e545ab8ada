"""Reading what the upstream answered: messages, tokens and counts, whole or in chunks; and taking off what the agent
did not ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentenv.episode import Usage
from agentenv.gateway.packed import PackedTokens
from agentenv.messages import Wire
from agentenv.tokens import TokenRecordError, VersionSpan

GIVEN_UP = ("abort", "error")
"""Finish reasons with which vLLM ends a generation nobody may use: its weights were replaced, or its engine failed."""


class NotAnAnswer(Exception):
    """A body with status 200 that is no completion."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of the fields we force upstream the agent asked for itself, and so gets to see."""

    token_ids: bool
    logprobs: bool
    versions: bool
    usage: bool


@dataclass(slots=True)
class ReadChoice:
    """One choice of an answer. `problem` says why there is no token record."""

    message: Wire
    finish_reason: str
    tokens: PackedTokens | None
    problem: str = ""


@dataclass(slots=True)
class ReadAnswer:
    """An answer: its choices and what surrounds them. `without_tokens`: the server sends no token ids at all."""

    choices: list[ReadChoice]
    usage: Usage
    model: str
    miscounted: str = ""
    """How the server's count differs from the ids it sent, if it does."""

    without_tokens: bool = False

    @property
    def given_up(self) -> bool:
        return any(choice.finish_reason in GIVEN_UP for choice in self.choices)


def read_answer(body: Any, headers: Mapping[str, str], *, chat: bool, version: int = 0) -> ReadAnswer:
    """Reads a whole chat or text completion; `version` is that of the weights where the answer does not say.

    Raises:
        NotAnAnswer: it is none.
    """
    try:
        parts = [_Parts.of(choice, chat=chat) for choice in body["choices"]]
        model = body.get("model")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise NotAnAnswer(f"it lacks a field ({type(error).__name__}: {error})") from None
    if not parts:
        raise NotAnAnswer("it has no choices")
    prompt = body.get("prompt_token_ids")
    return _assemble(parts, prompt, _usage(body.get("usage")), str(model or ""), _named_version(body, headers, version))


def strip_answer(body: Wire, asked: Asked) -> None:
    """Takes off an answer, or a chunk of one, what the agent did not ask for."""
    if not asked.token_ids:
        body.pop("prompt_token_ids", None)
    for choice in body["choices"]:
        if not asked.logprobs and choice.get("logprobs") is not None:
            choice["logprobs"] = None
        if not asked.token_ids:
            choice.pop("token_ids", None)
            choice.pop("prompt_token_ids", None)
        if not asked.versions:
            choice.pop("weight_versions", None)


@dataclass(slots=True)
class _Parts:
    """One choice as far as it has come."""

    message: Wire
    finish_reason: str = ""
    token_ids: list[int] | None = None
    logprobs: list[float] = field(default_factory=list)
    prompt: list[int] | None = None
    versions: list[Any] = field(default_factory=list)
    problem: str = ""

    @classmethod
    def of(cls, choice: Wire, *, chat: bool) -> _Parts:
        if chat:
            message = choice["message"]
            message = message if message.get("role") else {"role": "assistant", **message}
        else:
            message = {"role": "assistant", "content": choice["text"]}
        parts = cls(message, choice.get("finish_reason") or "stop")
        parts.take_tokens(choice, chat=chat)
        return parts

    def take_tokens(self, choice: Wire, *, chat: bool) -> None:
        """Adds the tokens of a choice or of a choice's delta."""
        ids = choice.get("token_ids")
        if ids is not None:
            if self.token_ids is None:
                self.token_ids = []
            self.token_ids.extend(ids)
        logprobs = choice.get("logprobs")
        if logprobs:
            try:
                found = (
                    [entry["logprob"] for entry in logprobs.get("content") or ()]
                    if chat
                    else logprobs["token_logprobs"]
                )
                self.logprobs.extend(found)
            except (KeyError, TypeError, AttributeError) as error:
                self.problem = f"the logprobs cannot be read ({type(error).__name__}: {error})"
        if choice.get("prompt_token_ids"):
            self.prompt = choice["prompt_token_ids"]
        if choice.get("weight_versions"):
            self.versions += choice["weight_versions"]

    def tokens(self, prompt: list[int] | None, named_version: int) -> PackedTokens:
        """Raises `TokenRecordError` unless there are ids and logprobs, and as many as there should be."""
        if self.problem:
            raise TokenRecordError(self.problem)
        prompt = prompt or self.prompt
        if prompt is None or self.token_ids is None:
            missing = "prompt_token_ids" if prompt is None else "token_ids"
            raise TokenRecordError(f"the server sent no {missing}")
        versions = _spans(self.versions, named_version, len(self.token_ids))
        return PackedTokens.of(prompt, self.token_ids, self.logprobs, versions)


class StreamedAnswer:
    """Adds up the chunks of a streamed answer, one call of `take` each."""

    def __init__(self, headers: Mapping[str, str], *, chat: bool, version: int = 0) -> None:
        self._chat = chat
        self._known_version = version
        self._headers = headers
        self._choices: dict[int, _Parts] = {}
        self._prompt: list[int] | None = None
        self._usage: Wire | None = None
        self._model = ""
        self._version: Wire = {}
        self.finished = False
        """Whether every choice has a finish reason."""

    def take(self, chunk: Wire) -> None:
        """Raises `NotAnAnswer` for what is no chunk of a completion."""
        try:
            if chunk.get("prompt_token_ids"):
                self._prompt = chunk["prompt_token_ids"]
            if chunk.get("usage"):
                self._usage = chunk["usage"]
            if "weight_version" in chunk:
                self._version = chunk
            self._model = self._model or chunk.get("model") or ""
            for choice in chunk["choices"]:
                self._take_choice(choice)
        except (KeyError, TypeError, AttributeError) as error:
            raise NotAnAnswer(f"a chunk lacks a field ({type(error).__name__}: {error})") from None

    def _take_choice(self, choice: Wire) -> None:
        index = choice.get("index", 0)
        parts = self._choices.get(index)
        if parts is None:
            parts = self._choices[index] = _Parts({"role": "assistant", "content": None})
        if self._chat:
            add_delta(parts.message, choice["delta"])
        else:
            parts.message["content"] = (parts.message["content"] or "") + choice["text"]
        parts.take_tokens(choice, chat=self._chat)
        reason = choice.get("finish_reason")
        if reason:
            parts.finish_reason = reason
            self.finished = all(found.finish_reason for found in self._choices.values())

    @property
    def begun(self) -> bool:
        """Whether anything was sampled that is known."""
        return any(parts.token_ids or parts.message.get("content") for parts in self._choices.values())

    def read(self) -> ReadAnswer:
        """What has come so far."""
        ordered = [parts for _, parts in sorted(self._choices.items())]
        version = _named_version(self._version, self._headers, self._known_version)
        return _assemble(ordered, self._prompt, _usage(self._usage), self._model, version)


def add_delta(message: Wire, delta: Wire) -> None:
    """Adds a delta to a message: texts grow, tool calls grow by their index, anything else is replaced."""
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value or ():
                _add_call(message.setdefault("tool_calls", []), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value


def _add_call(calls: list[Wire], delta: Wire) -> None:
    index = delta.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[index], delta.get("function") or {}
    call["id"] = delta.get("id") or call["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _assemble(
    parts: list[_Parts], prompt: list[int] | None, usage: Usage, model: str, named_version: int
) -> ReadAnswer:
    counted = sum(len(part.token_ids or ()) for part in parts)
    miscounted = (
        f"the server counts {usage.completion_tokens} completion tokens but sent {counted} token ids"
        if usage.completion_tokens not in (0, counted)
        else ""
    )
    choices = []
    for part in parts:
        tokens, problem = None, miscounted
        if not problem:
            try:
                tokens = part.tokens(prompt, named_version)
            except TokenRecordError as error:
                problem = str(error)
        choices.append(ReadChoice(part.message, part.finish_reason, tokens, problem))
    return ReadAnswer(choices, usage, model, miscounted, all(part.token_ids is None for part in parts))


def _spans(found: list[Any], named: int, sampled: int) -> tuple[VersionSpan, ...]:
    if not found:
        return (VersionSpan(named, 0, sampled),)
    try:
        spans = tuple(VersionSpan(int(span["version"]), span["start"], span["end"]) for span in found)
    except (KeyError, TypeError, ValueError) as error:
        raise TokenRecordError(f"weight_versions cannot be read ({type(error).__name__}: {error})") from None
    covered = 0
    for span in spans:
        if span.start != covered or span.end < span.start:
            raise TokenRecordError(f"version spans must follow one another without gaps, got {spans}")
        covered = span.end
    return spans


def _named_version(body: Wire, headers: Mapping[str, str], otherwise: int) -> int:
    """The weight version of servers that name one for the whole answer."""
    named = body.get("weight_version", headers.get("X-Weight-Version"))
    try:
        return int(named)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return otherwise


def _usage(usage: Any) -> Usage:
    if not isinstance(usage, Mapping):
        return Usage()
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Usage(prompt if type(prompt) is int else 0, completion if type(completion) is int else 0)
