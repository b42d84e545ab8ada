"""From the body an agent sent to the body a replica gets: the token fields are asked for, the rest stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.gateway.answers import Asked
from agentenv.gateway.continuation import Plan
from agentenv.gateway.failures import ApiError
from agentenv.gateway.wirejson import dumps, loads
from agentenv.messages import Wire

_NO_SAMPLING = frozenset({"messages", "prompt", "tools", "model", "stream", "stream_options"})
TOKEN_FIELDS = ("return_token_ids", "logprobs", "return_weight_versions")


def read_body(raw: bytes) -> Wire:
    """The JSON object of a request. Raises `ApiError` 400 for anything else."""
    try:
        body = loads(raw)
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the body must be a JSON object")
    return body


@dataclass(frozen=True, slots=True)
class Question:
    """A checked request in OpenAI's chat or completions format.

    Attributes:
        body: as it goes upstream, but for the fields the gateway adds.
        raw: the bytes the body was read from; `None` where it was made here.
    """

    chat: bool
    body: Wire
    raw: bytes | None
    messages: Sequence[Wire]
    tools: Sequence[Wire]
    stream: bool
    asked: Asked

    @classmethod
    def read(cls, body: Wire, raw: bytes | None, *, chat: bool, strict_tools: bool = False) -> Question:
        """Raises `ApiError` 400 where there are no messages, or no single prompt."""
        messages = _messages(body) if chat else _prompt(body)
        tools = body.get("tools") or ()
        if not isinstance(tools, list | tuple) or not all(isinstance(tool, dict) for tool in tools):
            raise ApiError(400, "tools must be a list of objects", param="tools")
        if not strict_tools and any(_is_strict(tool) for tool in tools):
            tools = [_lenient(tool) if _is_strict(tool) else tool for tool in tools]
            body, raw = {**body, "tools": tools}, None
        options = body.get("stream_options")
        asked = Asked(
            token_ids=bool(body.get("return_token_ids")),
            logprobs=bool(body.get("logprobs")) if chat else body.get("logprobs") is not None,
            versions=bool(body.get("return_weight_versions")),
            usage=isinstance(options, dict) and bool(options.get("include_usage")),
        )
        return cls(chat, body, raw, messages, tools, bool(body.get("stream")), asked)

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Everything of the body that says how to sample."""
        return {name: value for name, value in self.body.items() if name not in _NO_SAMPLING}

    @property
    def options(self) -> Mapping[str, Any]:
        """Everything of the body besides messages and tools."""
        return {name: value for name, value in self.body.items() if name not in ("messages", "tools")}

    @property
    def alternatives(self) -> int | None:
        """How many likely tokens a chat request wants beside each sampled one; `None` where it wants no logprobs."""
        return int(self.body.get("top_logprobs") or 0) if self.asked.logprobs else None

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.chat else "/v1/completions"

    def upstream_body(self, model: str | None, refused: Collection[str]) -> bytes:
        """The bytes for a replica that does not take the `refused` fields; those of the agent wherever possible."""
        body = self.body
        added: Wire = {}
        for name in TOKEN_FIELDS:
            value: Any = True if self.chat or name != "logprobs" else body.get("logprobs") or 0
            if name not in refused and (name not in body or body[name] != value or body[name] is not value):
                added[name] = value
        if self.stream and not self.asked.usage:
            options = body.get("stream_options")
            added["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        if model is not None and body.get("model") != model:
            added["model"] = model
        if self.raw is not None and body and not any(name in body for name in added):
            opening = self.raw.index(b"{") + 1
            return b"{" + dumps(added)[1:-1] + b"," + self.raw[opening:] if added else self.raw
        return dumps({**body, **added})


def exact_body(plan: Plan, question: Question, model: str | None, refused: Collection[str], *, stream: bool) -> bytes:
    """The bytes for `/v1/completions` of a call whose prompt is known token for token."""
    body = plan.completion_body(question.options)
    for name in ("stream", "stream_options"):
        body.pop(name, None)
    added: Wire = {name: True for name in TOKEN_FIELDS if name not in refused}
    if stream:
        added |= {"stream": True, "stream_options": {"include_usage": True}}
    if "logprobs" in added:
        added["logprobs"] = body.get("logprobs") or 0
    if model is not None:
        added["model"] = model
    return dumps({**body, **added})


def _messages(body: Wire) -> Sequence[Wire]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages must be a list with at least one message", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, f"messages[{index}] must be an object with a role", param="messages")
    return messages


def _is_strict(tool: Wire) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and bool(function.get("strict"))


def _lenient(tool: Wire) -> Wire:
    return {**tool, "function": {name: value for name, value in tool["function"].items() if name != "strict"}}


def _prompt(body: Wire) -> Sequence[Wire]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return []
    raise ApiError(400, "prompt must be one text or one list of token ids; send a call for each", param="prompt")
