"""A request of the Responses API as a chat request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentenv.gateway.protocols.common import (
    JsonObject,
    Parameters,
    ProtocolError,
    as_object,
    as_objects,
    as_text,
    refuse_unknown,
    refuse_unless,
    shorten,
)
from agentenv.gateway.protocols.responses.items import read_items
from agentenv.messages import Wire

Earlier = Callable[[str], "Sequence[Wire] | None"]
"""From a response's id to the chat messages that led to it, without its instructions (they belong to one request only),
and its answer; `None` for an id nobody knows."""

IGNORED = {
    "max_tool_calls": "counts built-in tools, of which there are none here",
    "metadata": "the caller's own notes; they are in the response again",
    "prompt_cache_key": "caching is the server's business",
    "prompt_cache_options": "caching is the server's business",
    "prompt_cache_retention": "caching is the server's business",
    "safety_identifier": "names an end user to OpenAI",
    "service_tier": "there is one tier",
    "store": "nothing is stored beyond the session",
    "stream_options": "obfuscation against eavesdroppers; usage is always in the last event",
    "user": "names an end user to OpenAI",
}
"""Parameters that are taken and change nothing."""

_PARAMETERS = Parameters(
    same={
        "model": "model",
        "temperature": "temperature",
        "top_p": "top_p",
        "max_output_tokens": "max_completion_tokens",
        "parallel_tool_calls": "parallel_tool_calls",
        "stop": "stop",
    },
    handled=frozenset(
        {
            "include",
            "input",
            "instructions",
            "previous_response_id",
            "reasoning",
            "stream",
            "text",
            "tool_choice",
            "tools",
            "top_logprobs",
        }
    ),
    ignored=IGNORED,
    neutral={"background": (False,), "truncation": ("disabled",), "context_management": ([],)},
)

_INCLUDE_LOGPROBS = "message.output_text.logprobs"
_INCLUDABLE = (_INCLUDE_LOGPROBS, "reasoning.encrypted_content")
"""Reasoning is returned in the open, which serves whoever asks for it encrypted in order to send it back."""

_TOOL_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "allowed_callers": ([], ["direct"]),
    "async": (False,),
    "defer_loading": (False,),
    "output_schema": (),
}


def to_chat(body: JsonObject, earlier: Earlier | None = None) -> Wire:
    """The chat request that asks the same.

    `instructions` become a system message in front; items that stand for one answer (reasoning, message, function
    calls) become one assistant message. With `earlier`, `previous_response_id` continues that response; without, it is
    refused.

    Raises:
        ProtocolError: something that chat completions cannot say.

    >>> to_chat({"model": "m", "instructions": "Be brief.", "input": "Hello"})["messages"]
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello'}]
    """
    chat = _PARAMETERS.start(body)
    instructions = body.get("instructions")
    opening = [] if instructions is None else [_system(as_text(instructions, "instructions"))]
    chat["messages"] = [*opening, *_previous(body, earlier), *_input(body)]
    if body.get("tools"):
        chat["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(as_objects(body["tools"], "tools"))]
    if body.get("tool_choice") is not None:
        chat["tool_choice"] = _tool_choice(body["tool_choice"])
    _add_text_format(chat, body)
    _add_reasoning(chat, body)
    if logprobs_asked(body):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0}
    if body.get("stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def logprobs_asked(body: JsonObject) -> bool:
    """Whether the caller wants log-probabilities in the response."""
    include = body.get("include") or []
    if not isinstance(include, list):
        raise ProtocolError(f"expected a list, got {shorten(include)}", "include")
    for name in include:
        if name not in _INCLUDABLE:
            raise ProtocolError(f"{shorten(name)} belongs to a built-in tool, and there are none here", "include")
    return _INCLUDE_LOGPROBS in include or bool(body.get("top_logprobs"))


def _system(text: str) -> Wire:
    return {"role": "system", "content": text}


def _previous(body: JsonObject, earlier: Earlier | None) -> Sequence[Wire]:
    previous = body.get("previous_response_id")
    if previous is None:
        return []
    found = None if earlier is None else earlier(as_text(previous, "previous_response_id"))
    if found is None:
        raise ProtocolError(
            f"no response {shorten(previous)} in this session; send the whole conversation as input (store=False)",
            "previous_response_id",
        )
    return found


def _input(body: JsonObject) -> list[Wire]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    items = as_objects(given, "input")
    if not items and body.get("previous_response_id") is None:
        raise ProtocolError("there is nothing to answer", "input")
    return read_items(items)


def _tool(tool: JsonObject, param: str) -> Wire:
    if tool.get("type") != "function":
        raise ProtocolError(f"only function tools can be called here, not {shorten(tool.get('type'))}", f"{param}.type")
    refuse_unknown(tool, {"type", "name", "description", "parameters", "strict", *_TOOL_NEUTRAL}, param)
    refuse_unless(tool, _TOOL_NEUTRAL, param)
    function: Wire = {"name": as_text(tool.get("name"), f"{param}.name")}
    function |= {key: tool[key] for key in ("description", "parameters", "strict") if tool.get(key) is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: object) -> str | Wire:
    if isinstance(choice, str):
        return choice
    wanted = as_object(choice, "tool_choice")
    if wanted.get("type") != "function":
        raise ProtocolError(f"{shorten(wanted.get('type'))} has no counterpart in chat completions", "tool_choice.type")
    return {"type": "function", "function": {"name": as_text(wanted.get("name"), "tool_choice.name")}}


def _add_text_format(chat: Wire, body: JsonObject) -> None:
    text = as_object(body.get("text") or {}, "text")
    refuse_unknown(text, {"format", "verbosity"}, "text")
    refuse_unless(text, {"verbosity": ("medium",)}, "text")
    asked = as_object(text.get("format") or {"type": "text"}, "text.format")
    kind = asked.get("type")
    if kind == "json_schema":
        schema = {key: value for key, value in asked.items() if key != "type" and value is not None}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif kind == "json_object":
        chat["response_format"] = {"type": "json_object"}
    elif kind != "text":
        raise ProtocolError(f"{shorten(kind)} has no counterpart in chat completions", "text.format.type")


def _add_reasoning(chat: Wire, body: JsonObject) -> None:
    """`summary` and `generate_summary` are not passed on: the whole reasoning is returned in place of a summary."""
    reasoning = as_object(body.get("reasoning") or {}, "reasoning")
    refuse_unknown(reasoning, {"effort", "summary", "generate_summary", "context", "mode"}, "reasoning")
    refuse_unless(reasoning, {"context": ("auto",), "mode": ("standard",)}, "reasoning")
    if reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
