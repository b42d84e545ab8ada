"""A request of the Messages API as a chat request."""

from __future__ import annotations

from typing import Any

from agentenv.gateway.protocols.anthropic.blocks import read_messages, text_content
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
from agentenv.messages import Wire

IGNORED = {
    "cache_control": "caching is the server's business; on tools and blocks likewise",
    "diagnostics": "asks about the prompt cache",
    "inference_geo": "there is one place",
    "metadata": "names an end user to Anthropic",
    "service_tier": "there is one tier",
    "speed": "there is one speed",
    "user_profile_id": "names an end user to Anthropic",
    "workspace_id": "names a customer to Anthropic",
}
"""Parameters that are taken and change nothing. So are, within others: `thinking.display` (thinking is always returned
whole), a thinking block's `signature`, a tool's `eager_input_streaming`, and a tool result's `is_error` (its content
says what went wrong; chat completions have no such mark)."""

_PARAMETERS = Parameters(
    same={
        "model": "model",
        "max_tokens": "max_completion_tokens",
        "stop_sequences": "stop",
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
    },
    handled=frozenset({"messages", "output_config", "stream", "system", "thinking", "tool_choice", "tools"}),
    ignored=IGNORED,
    neutral={"mcp_servers": ([],)},
)

_TOOL_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "allowed_callers": ([], ["direct"]),
    "defer_loading": (False,),
    "input_examples": ([],),
}


_TOOL_FIELDS = frozenset(
    {"type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming"}
)


def to_chat(body: JsonObject) -> Wire:
    """The chat request that asks the same.

    Raises:
        ProtocolError: something that chat completions cannot say.

    >>> hello = {"role": "user", "content": "Hello"}
    >>> to_chat({"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": [hello]})["messages"]
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hello'}]
    """
    chat = _PARAMETERS.start(body)
    limit = body.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ProtocolError(f"expected a number of at least 1, got {shorten(limit)}", "max_tokens")
    system = (
        [] if body.get("system") is None else [{"role": "system", "content": text_content(body["system"], "system")}]
    )
    chat["messages"] = [*system, *read_messages(body.get("messages"))]
    if body.get("tools"):
        chat["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(as_objects(body["tools"], "tools"))]
    _add_tool_choice(chat, body)
    _add_thinking(chat, body)
    _add_output(chat, body)
    if body.get("stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def _tool(tool: JsonObject, param: str) -> Wire:
    if tool.get("type") not in (None, "custom"):
        raise ProtocolError(f"only tools of the caller's own can be called here, not {tool['type']}", f"{param}.type")
    refuse_unknown(tool, _TOOL_FIELDS | _TOOL_NEUTRAL.keys(), param)
    refuse_unless(tool, _TOOL_NEUTRAL, param)
    function: Wire = {"name": as_text(tool.get("name"), f"{param}.name")}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = as_object(tool.get("input_schema"), f"{param}.input_schema")
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _add_tool_choice(chat: Wire, body: JsonObject) -> None:
    if body.get("tool_choice") is None:
        return
    choice = as_object(body["tool_choice"], "tool_choice")
    kind = choice.get("type")
    plain = {"auto": "auto", "any": "required", "none": "none"}
    if kind == "tool":
        name = as_text(choice.get("name"), "tool_choice.name")
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif isinstance(kind, str) and kind in plain:
        chat["tool_choice"] = plain[kind]
    else:
        raise ProtocolError(f"{shorten(kind)} has no counterpart in chat completions", "tool_choice.type")
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False


def _add_thinking(chat: Wire, body: JsonObject) -> None:
    """`adaptive` is what a chat model does when nothing is said. The other two are vLLM's fields for the same."""
    thinking = as_object(body.get("thinking") or {"type": "adaptive"}, "thinking")
    refuse_unknown(thinking, {"type", "budget_tokens", "display"}, "thinking")
    kind = thinking.get("type")
    if kind == "enabled":
        chat["thinking_token_budget"] = thinking.get("budget_tokens")
    elif kind == "disabled":
        chat["reasoning_effort"] = "none"
    elif kind != "adaptive":
        raise ProtocolError(f"{shorten(kind)} has no counterpart in chat completions", "thinking.type")


def _add_output(chat: Wire, body: JsonObject) -> None:
    output = as_object(body.get("output_config") or {}, "output_config")
    refuse_unknown(output, {"effort", "format"}, "output_config")
    if output.get("effort") is not None:
        chat["reasoning_effort"] = output["effort"]
    if output.get("format") is not None:
        wanted = as_object(output["format"], "output_config.format")
        if wanted.get("type") != "json_schema":
            raise ProtocolError(f"expected json_schema, got {shorten(wanted.get('type'))}", "output_config.format.type")
        schema = as_object(wanted.get("schema"), "output_config.format.schema")
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
