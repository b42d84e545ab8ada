"""The chat template: as Jinja (stored with the tokenizer, used by transformers and vLLM) and as native Python.

Layout, without line breaks between segments:

    <|system|>SYSTEM TEXT\\ntools: calculator, search<|end|>
    <|user|>TEXT<|end|>
    <|assistant|>TEXT<tool_call>{"name": "calculator", "arguments": {"expression": "12*34"}}</tool_call><|end|>
    <|tool|>TEXT<|end|>

Tools are listed by name only, which keeps the prompt of a tiny model short. Every segment starts and ends with a token
that is never merged with its neighbours, so the ids of a longer conversation begin with the ids of the shorter one.
The native renderer exists because it is many times faster than Jinja and the server renders on every call; a property
test holds the two byte-identical.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

CHAT_TEMPLATE = (
    "{%- set listing = namespace(text='') %}"
    "{%- for tool in tools or [] %}"
    "{%- set function = tool.function if tool.function is defined else tool %}"
    "{%- set listing.text = (listing.text + ', ' if listing.text else 'tools: ') + function.name %}"
    "{%- endfor %}"
    "{%- if listing.text and (not messages or messages[0].role not in ('system', 'developer')) %}"
    "{{- '<|system|>' + listing.text + '<|end|>' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role in ('system', 'developer') %}"
    "{{- '<|system|>' + (message.content or '') }}"
    "{%- if loop.first and listing.text %}{{- '\\n' + listing.text }}{%- endif %}"
    "{{- '<|end|>' }}"
    "{%- elif message.role == 'assistant' %}"
    "{{- '<|assistant|>' }}"
    "{%- generation %}"
    "{{- message.content or '' }}"
    "{%- if message.tool_calls %}{%- for call in message.tool_calls %}"
    "{%- set function = call.function if call.function is defined else call %}"
    "{{- '<tool_call>{\"name\": ' + function.name | tojson + ', \"arguments\": ' }}"
    "{{- function.arguments if function.arguments is string else function.arguments | tojson }}"
    "{{- '}</tool_call>' }}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|end|>' }}"
    "{%- endgeneration %}"
    "{%- elif message.role == 'tool' %}{{- '<|tool|>' + (message.content or '') + '<|end|>' }}"
    "{%- else %}{{- '<|user|>' + (message.content or '') + '<|end|>' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
"""Jinja source. Its `generation` block serves `apply_chat_template(return_assistant_tokens_mask=True)`."""

_SYSTEM_ROLES = ("system", "developer")
_ROLE_TOKENS = {"system": "<|system|>", "developer": "<|system|>", "tool": "<|tool|>"}


def render_chat(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    add_generation_prompt: bool = False,
) -> str:
    """Render OpenAI-format messages (content: string or None) exactly as `CHAT_TEMPLATE` does.

    Tool-call arguments given as a string are inserted as they are; any other JSON value is dumped the way the
    template's `tojson` filter dumps it.

    >>> render_chat([{"role": "user", "content": "12 times 34"}], add_generation_prompt=True)
    '<|user|>12 times 34<|end|><|assistant|>'
    """
    tool_line = "tools: " + ", ".join([_function_of(tool)["name"] for tool in tools]) if tools else ""
    parts: list[str] = []
    if tool_line and (not messages or messages[0]["role"] not in _SYSTEM_ROLES):
        parts += ("<|system|>", tool_line, "<|end|>")
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            parts += ("<|assistant|>", message.get("content") or "")
            parts += [_render_tool_call(call) for call in message.get("tool_calls") or ()]
        else:
            parts += (_ROLE_TOKENS.get(role, "<|user|>"), message.get("content") or "")
            if index == 0 and tool_line and role in _SYSTEM_ROLES:
                parts += ("\n", tool_line)
        parts.append("<|end|>")
    if add_generation_prompt:
        parts.append("<|assistant|>")
    return "".join(parts)


def _function_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function part of a tool or tool call, which clients send bare or wrapped as {"function": ...}."""
    function: Mapping[str, Any] = item.get("function", item)
    return function


def _render_tool_call(call: Mapping[str, Any]) -> str:
    function = _function_of(call)
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>{{"name": {json.dumps(function["name"], ensure_ascii=False)}, "arguments": {text}}}</tool_call>'
