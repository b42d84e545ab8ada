"""A chat reply as a response, whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentenv.gateway.protocols.common import JsonObject, first_choice, reasoning_of, suffix_of
from agentenv.gateway.protocols.responses.request import logprobs_asked
from agentenv.messages import Wire

_ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What a response repeats of its request, and what stands there when that left it out."""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def from_chat(reply: JsonObject, request: JsonObject) -> Wire:
    """The response that says what the chat reply says, to the request body it answers.

    The output is a reasoning item where there is reasoning, a message where there is text, and a function call item per
    call with its arguments exactly as sampled, valid JSON or not. An answer cut at its token limit is `incomplete`. One
    that says nothing at all is a message with an empty text.
    """
    choice = first_choice(reply)
    message: JsonObject = choice.get("message") or {}
    suffix = suffix_of(reply)
    status = status_of(choice.get("finish_reason"))
    output: list[Wire] = []
    if reasoning := reasoning_of(message):
        output.append(reasoning_item(suffix, reasoning))
    calls = message.get("tool_calls") or []
    content = message.get("content") or ""
    refusal = message.get("refusal") or ""
    if content or refusal or not (calls or reasoning):
        logprobs = read_logprobs(choice) if logprobs_asked(request) else None
        output.append(message_item(suffix, content, refusal, logprobs))
    output += [
        call_item(suffix, i, call.get("id"), call["function"]["name"], call["function"].get("arguments") or "")
        for i, call in enumerate(calls)
    ]
    response = envelope(reply, request)
    return response | conclusion(status, choice.get("finish_reason"), output, reply.get("usage"))


def response_id(reply: JsonObject) -> str:
    """The id of the response made of a chat reply, or of the chunks of one."""
    return f"resp_{suffix_of(reply)}"


def envelope(reply: JsonObject, request: JsonObject) -> Wire:
    """A response in progress: everything but its output."""
    echoed = {key: default if request.get(key) is None else request[key] for key, default in _ECHOED.items()}
    return {
        "id": response_id(reply),
        "object": "response",
        "created_at": reply.get("created") or 0,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": reply.get("model") or request.get("model"),
        "output": [],
        "usage": None,
        **echoed,
    }


def status_of(finish_reason: str | None) -> str:
    """`incomplete` for an answer cut by its token limit, by a filter, or by the server giving it up."""
    return "incomplete" if finish_reason in (*_INCOMPLETE, "abort") else "completed"


def conclusion(status: str, finish_reason: str | None, output: Sequence[Wire], usage: Mapping[str, Any] | None) -> Wire:
    """The fields of a response that are known at its end. What was cut short is marked on its last item."""
    items = list(output)
    if items and status == "incomplete":
        items[-1] = items[-1] | {"status": "incomplete"}
    details = {"reason": _INCOMPLETE.get(finish_reason or "")} if status == "incomplete" else None
    return {"status": status, "incomplete_details": details, "output": items, "usage": read_usage(usage)}


def reasoning_item(suffix: str, text: str, index: int = 0) -> Wire:
    return {
        "id": f"rs_{suffix}_{index}",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        "status": "completed",
    }


def message_item(suffix: str, text: str, refusal: str, logprobs: list[Wire] | None) -> Wire:
    content: list[Wire] = []
    if text or not refusal:
        content.append(text_part(text, logprobs))
    if refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return {"id": f"msg_{suffix}", "type": "message", "role": "assistant", "status": "completed", "content": content}


def text_part(text: str, logprobs: list[Wire] | None) -> Wire:
    part: Wire = {"type": "output_text", "text": text, "annotations": []}
    return part if logprobs is None else part | {"logprobs": logprobs}


def call_item(suffix: str, index: int, call_id: str | None, name: str, arguments: str) -> Wire:
    return {
        "id": f"fc_{suffix}_{index}",
        "type": "function_call",
        "call_id": call_id or f"call_{suffix}_{index}",
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def read_logprobs(choice: JsonObject) -> list[Wire]:
    """The log-probabilities of a choice's tokens; the two APIs write them alike."""
    logprobs = choice.get("logprobs") or {}
    return list(logprobs.get("content") or [])


def read_usage(usage: JsonObject | None) -> Wire | None:
    if usage is None:
        return None
    prompt, sampled = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": sampled,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + sampled,
    }


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Wire:
    """An error as OpenAI's clients read it; they choose the exception by the HTTP status.

    >>> error_body(404, "no such model", param="model", code="model_not_found")["error"]["type"]
    'not_found_error'
    """
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
