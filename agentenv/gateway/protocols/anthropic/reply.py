"""A chat reply as an Anthropic message, whole."""

from __future__ import annotations

from agentenv.gateway.protocols.anthropic.arguments import input_of
from agentenv.gateway.protocols.common import JsonObject, first_choice, reasoning_of, suffix_of
from agentenv.messages import Wire

SIGNATURE = "unsigned"
"""Clients require a signature on thinking and send it back; nobody here checks one."""

_STOP_REASONS = {"length": "max_tokens", "abort": "max_tokens", "content_filter": "refusal"}


def from_chat(reply: JsonObject, request: JsonObject) -> Wire:
    """The message that says what the chat reply says, to the request body it answers.

    Its content is a thinking block where there is reasoning, a text block where there is text, and a tool use per call;
    an answer that says nothing at all is one empty text block. Arguments that are no JSON object are wrapped
    (`INVALID_JSON`).
    """
    choice = first_choice(reply)
    message: JsonObject = choice.get("message") or {}
    calls = message.get("tool_calls") or []
    suffix = suffix_of(reply)
    content: list[Wire] = []
    if reasoning := reasoning_of(message):
        content.append(thinking_block(reasoning))
    if text := said(message):
        content.append(text_block(text))
    for index, call in enumerate(calls):
        function = call["function"]
        content.append(tool_use(suffix, index, call.get("id"), function["name"], function.get("arguments") or ""))
    started = start(reply, request)
    return (
        started
        | {"content": content or [text_block("")], "usage": read_usage(reply.get("usage"))}
        | stop(choice, calls)
    )


def said(message: JsonObject) -> str:
    """The text of a message or delta. A refusal is said in words here and marked by the stop reason."""
    return (message.get("content") or "") + (message.get("refusal") or "")


def start(reply: JsonObject, request: JsonObject) -> Wire:
    """A message before anything is said. The prompt's length is known where the reply carries the prompt's ids."""
    prompt = len(reply.get("prompt_token_ids") or ())
    return {
        "id": f"msg_{suffix_of(reply)}",
        "type": "message",
        "role": "assistant",
        "model": reply.get("model") or request.get("model"),
        "content": [],
        "stop_details": None,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": read_usage(reply.get("usage") or {"prompt_tokens": prompt}),
    }


def stop(choice: JsonObject, calls: object) -> Wire:
    """Why a choice ended. vLLM names the stop string that was met; servers that do not, say `end_turn`."""
    finish_reason, met = choice.get("finish_reason"), choice.get("stop_reason")
    if finish_reason in _STOP_REASONS:
        return {"stop_reason": _STOP_REASONS[finish_reason], "stop_sequence": None}
    if calls:
        return {"stop_reason": "tool_use", "stop_sequence": None}
    if isinstance(met, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": met}
    return {"stop_reason": "end_turn", "stop_sequence": None}


def thinking_block(text: str) -> Wire:
    return {"type": "thinking", "thinking": text, "signature": SIGNATURE}


def text_block(text: str) -> Wire:
    return {"type": "text", "text": text}


def tool_use(suffix: str, index: int, call_id: str | None, name: str, arguments: str) -> Wire:
    return {
        "type": "tool_use",
        "id": call_id or f"toolu_{suffix}_{index}",
        "name": name,
        "input": input_of(arguments),
    }


def read_usage(usage: JsonObject | None) -> Wire:
    """Anthropic counts tokens read from the cache apart from the input, chat completions as part of it."""
    usage = usage or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": max((usage.get("prompt_tokens") or 0) - cached, 0),
        "output_tokens": usage.get("completion_tokens") or 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
    }


_ERRORS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Wire:
    """An error as Anthropic's clients read it. They know no `param` and no `code`; messages name the parameter.

    >>> error_body(429, "too many requests in flight")
    {'type': 'error', 'error': {'type': 'rate_limit_error', 'message': 'too many requests in flight'}}
    """
    kind = _ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}
