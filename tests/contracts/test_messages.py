from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.messages import MalformedMessageError, Message, Part, Role, ToolCall, assistant, user

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PARTS = st.dictionaries(st.text(min_size=1), JSON, max_size=3).map(lambda extra: Part({**extra, "type": "mystery"}))
CALLS = st.builds(ToolCall, st.text(), st.text(), st.text())
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(Role),
    content=st.none() | st.text() | st.lists(PARTS, max_size=3).map(tuple),
    tool_calls=st.lists(CALLS, max_size=3).map(tuple),
    tool_call_id=st.none() | st.text(),
    name=st.none() | st.text(),
    extra=st.dictionaries(st.sampled_from(["refusal", "annotations"]), st.text()),
)


@given(MESSAGES)
def test_a_message_survives_the_wire_unchanged(message: Message) -> None:
    assert Message.from_wire(message.to_wire()) == message


def test_images_and_unknown_parts_pass_through_untouched() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    hologram = {"type": "hologram", "depth": 3}
    wire = {"role": "user", "content": [{"type": "text", "text": "look"}, image, hologram]}
    message = Message.from_wire(wire)
    assert message.to_wire() == wire
    assert message.text == "look"


def test_the_text_of_a_message_without_text_is_empty() -> None:
    assert assistant().text == ""
    assert user((Part.image_url("https://example.org/cat.png"),)).text == ""


def test_arguments_stay_exactly_as_the_model_wrote_them() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1,, }'}}
    message = Message.from_wire({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message.tool_calls[0].arguments == '{"a": 1,, }'


def test_arguments_sent_as_an_object_become_its_text() -> None:
    call = ToolCall.from_wire({"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}})
    assert call.arguments == '{"a": 1}'


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"role": "wizard", "content": "hi"},
        {"role": "user", "content": 3},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        {"role": "assistant", "content": None, "tool_calls": 5},
        {"role": "assistant", "content": None, "tool_calls": ["call"]},
    ],
)
def test_what_is_no_message_is_named(wire: dict[str, object]) -> None:
    with pytest.raises(MalformedMessageError):
        Message.from_wire(wire)
