"""Reading request bodies: OpenAI's fields and vLLM's additions, checked by hand because it runs on every call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv_tiny.sampling import SamplingParameters

Json = dict[str, Any]


class RequestError(Exception):
    """A request that is answered with an OpenAI error body and `status`."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What the reply should carry besides the text."""

    stream: bool
    include_usage: bool
    logprobs: bool
    return_token_ids: bool
    return_weight_versions: bool
    single_call: bool
    """`parallel_tool_calls` was set to false: vLLM then passes on the first call and no other."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked body of /v1/chat/completions; messages hold plain strings as content."""

    messages: Sequence[Json]
    tools: Sequence[Json]
    parse_tools: bool
    add_generation_prompt: bool
    body: Json
    options: ReplyOptions


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A checked body of /v1/completions with one prompt, as text or as token ids."""

    prompt: str | list[int]
    body: Json
    options: ReplyOptions


def read_json(data: bytes) -> Json:
    """The body as an object, else RequestError 400."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object")
    return body


def read_chat(body: Json) -> ChatRequest:
    """Check a chat body. Raises RequestError naming the field."""
    choice = body.get("tool_choice") or "auto"
    if choice not in ("auto", "none"):
        raise RequestError(
            "tool_choice must be 'auto' or 'none': this server does not force calls", param="tool_choice"
        )
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(_is_named(tool) for tool in tools):
        raise RequestError("tools must be a list of {type: 'function', function: {name, ...}}", param="tools")
    top = _typed(body, "top_logprobs", int, 0)
    return ChatRequest(
        messages=read_messages(body.get("messages")),
        tools=tools,
        parse_tools=bool(tools) and choice == "auto",
        add_generation_prompt=_typed(body, "add_generation_prompt", bool, True),
        body=body,
        options=_options(body, logprobs=_typed(body, "logprobs", bool, False) or top > 0),
    )


def read_completion(body: Json) -> CompletionRequest:
    """Check a completions body. Raises RequestError naming the field."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if not isinstance(prompt, str) and not _is_ids(prompt):
        raise RequestError("prompt must be one string or one list of token ids", param="prompt")
    asked = body.get("logprobs")
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int)):
        raise RequestError("logprobs must be a number: how many alternatives to report a token", param="logprobs")
    return CompletionRequest(prompt=prompt, body=body, options=_options(body, logprobs=asked is not None))  # type: ignore[arg-type]


_NEUTRAL: Json = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "min_p": 0,
    "logit_bias": {},
    "min_tokens": 0,
    "stop_token_ids": [],
    "best_of": 1,
    "echo": False,
    "continue_final_message": False,
    "response_format": {"type": "text"},
}
"""Fields that would change what is sampled, with the value at which they do not: better refused than ignored."""


def read_sampling(body: Json, *, room: int, top_logprobs: int) -> SamplingParameters:
    """The sampling fields; without `max_tokens` the answer may fill the `room` left in the context."""
    stop = body.get("stop")
    stop = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise RequestError("stop must be a string or a list of strings", param="stop")
    if _typed(body, "n", int, 1) != 1:
        raise RequestError("n must be 1: send one request for each answer", param="n")
    limit = _typed(body, "max_completion_tokens", int, _typed(body, "max_tokens", int, None))
    for name in _NEUTRAL.keys() & body.keys():
        if body[name] not in (None, _NEUTRAL[name]):
            raise RequestError(f"{name} is not supported here: leave it out, or serve this model with vLLM", param=name)
    try:
        return SamplingParameters(
            max_tokens=max(room, 1) if limit is None else limit,
            temperature=float(_typed(body, "temperature", (int, float), 1.0)),
            top_p=float(_typed(body, "top_p", (int, float), 1.0)),
            top_k=_typed(body, "top_k", int, 0),
            stop=tuple(stop),
            seed=_typed(body, "seed", int, None),
            top_logprobs=top_logprobs,
            ignore_eos=_typed(body, "ignore_eos", bool, False),
        )
    except (ValueError, OverflowError) as error:
        raise RequestError(str(error), param=str(error).split(" ", 1)[0]) from error


def read_messages(messages: Any) -> list[Json]:
    """Check OpenAI-format messages and flatten lists of text parts to text, as vLLM does for string templates."""
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list with at least one message", param="messages")
    checked = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestError(f"messages[{index}] needs a role out of {', '.join(_ROLES)}", param="messages")
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            message = {**message, "content": _flatten(content, index)}
        calls = message.get("tool_calls") or ()
        if calls and not (isinstance(calls, list) and all(_is_call(call) for call in calls)):
            raise RequestError(
                f"messages[{index}].tool_calls needs function.name and function.arguments", param="messages"
            )
        checked.append(message)
    return checked


_ROLES = ("system", "developer", "user", "assistant", "tool")


def _flatten(content: Any, index: int) -> str:
    texts = (
        [part.get("text") if isinstance(part, dict) else None for part in content] if isinstance(content, list) else [0]
    )
    if not all(isinstance(text, str) for text in texts):
        raise RequestError(f"messages[{index}].content must be text: this model reads nothing else", param="messages")
    return "\n".join(texts)  # type: ignore[arg-type]


def _is_named(tool: Any) -> bool:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _is_call(call: Any) -> bool:
    return _is_named(call) and "arguments" in call.get("function", call)


def _is_ids(prompt: Any) -> bool:
    return isinstance(prompt, list) and all(type(index) is int for index in prompt)


def _options(body: Json, *, logprobs: bool) -> ReplyOptions:
    stream_options = body.get("stream_options") or {}
    return ReplyOptions(
        stream=_typed(body, "stream", bool, False),
        include_usage=isinstance(stream_options, Mapping) and bool(stream_options.get("include_usage")),
        logprobs=logprobs,
        return_token_ids=_typed(body, "return_token_ids", bool, False),
        return_weight_versions=_typed(body, "return_weight_versions", bool, False),
        single_call=not _typed(body, "parallel_tool_calls", bool, True),
    )


def _typed(body: Json, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """The field, or `default` when absent or null; RequestError when of another type (true is not a number here)."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = (
            "a number" if isinstance(kind, tuple) else {"bool": "true or false", "int": "an integer"}[kind.__name__]
        )
        raise RequestError(f"{name} must be {expected}, not {json.dumps(value)[:80]}", param=name)
    return value
