"""Whatever JSON a client sends, it is translated or refused by name; nothing else happens."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv.gateway.protocols import ProtocolError, anthropic, responses
from tests.gateway_protocols.clients import Wire
from tests.gateway_protocols.conversations import JSON_VALUES

ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
KINDS = st.sampled_from(
    [
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "text",
        "image",
        "tool_use",
        "tool_result",
        "thinking",
        "input_text",
        "input_image",
        "input_file",
        "output_text",
        "refusal",
        "item_reference",
        "function",
        "custom",
        "auto",
        "any",
        "tool",
        "json_schema",
    ]
)
FIELDS = st.sampled_from(
    [
        "text",
        "source",
        "id",
        "name",
        "input",
        "tool_use_id",
        "content",
        "call_id",
        "output",
        "arguments",
        "summary",
        "image_url",
        "thinking",
        "refusal",
        "encrypted_content",
        "type",
        "format",
        "schema",
        "input_schema",
        "parameters",
        "effort",
    ]
)


def blocks(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Objects that look like items and content blocks, with anything in their fields."""
    marked = st.fixed_dictionaries({}, optional={"type": KINDS, "role": ROLES})
    filled = st.dictionaries(FIELDS, inner, max_size=4)
    return st.builds(lambda left, right: left | right, marked, filled)


VALUES = st.recursive(JSON_VALUES, lambda inner: st.lists(blocks(inner), max_size=3) | blocks(inner), max_leaves=12)


def bodies(*names: str) -> st.SearchStrategy[Wire]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, VALUES))


@settings(max_examples=150)
@given(bodies("input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "previous_response_id"))
def test_any_body_of_the_responses_api_is_a_chat_request_or_refused(body: Wire) -> None:
    with contextlib.suppress(ProtocolError):
        chat = responses.to_chat({"input": "x"} | body)
        assert chat["messages"]
        json.dumps(chat)


@settings(max_examples=150)
@given(bodies("messages", "system", "tools", "tool_choice", "thinking", "output_config"))
def test_any_body_of_the_messages_api_is_a_chat_request_or_refused(body: Wire) -> None:
    with contextlib.suppress(ProtocolError):
        chat = anthropic.to_chat({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]} | body)
        assert chat["messages"]
        json.dumps(chat)


@pytest.mark.parametrize("protocol", [responses, anthropic])
@given(name=st.text(min_size=1, max_size=12).filter(lambda name: name not in ("n", "top_k")), value=JSON_VALUES)
def test_a_parameter_nobody_has_heard_of_is_refused(protocol: object, name: str, value: object) -> None:
    body: Wire = {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    body = body if protocol is anthropic else {"input": "x"}
    unknown = f"x_{name}"
    if value is None:
        assert protocol.to_chat(body | {unknown: value}) == protocol.to_chat(body)  # type: ignore[attr-defined]
        return
    with pytest.raises(ProtocolError) as refused:
        protocol.to_chat(body | {unknown: value})  # type: ignore[attr-defined]
    assert refused.value.param == unknown
