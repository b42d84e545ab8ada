"""Frameworks declare tools strict unasked. vLLM would sample them under a grammar, and the rows would be off policy."""

from __future__ import annotations

import json

from agentenv.gateway.requests import Question

STRICT = {"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}, "strict": True}}
PLAIN = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}, "strict": False}}
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "2+2"}], "tools": [STRICT, PLAIN]}


def upstream(body: dict[str, object], *, strict_tools: bool) -> dict[str, object]:
    question = Question.read(body, json.dumps(body).encode(), chat=True, strict_tools=strict_tools)
    sent: dict[str, object] = json.loads(question.upstream_body(None, ()))
    return sent


def test_a_strict_tool_is_an_ordinary_one_upstream() -> None:
    lenient = {"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}}}
    assert upstream(BODY, strict_tools=False)["tools"] == [lenient, PLAIN]
    assert BODY["tools"] == [STRICT, PLAIN]


def test_strictness_is_passed_on_where_it_is_asked_for() -> None:
    assert upstream(BODY, strict_tools=True)["tools"] == [STRICT, PLAIN]


def test_a_request_without_strict_tools_goes_upstream_as_the_agent_wrote_it() -> None:
    raw = b'{"messages":  [{"role": "user", "content": "2+2"}]}'
    question = Question.read(json.loads(raw), raw, chat=True)
    assert question.upstream_body(None, ()).endswith(raw[1:])
