"""Chat to another protocol and back, through the official clients: the conversation is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway_protocols.clients import Gateway, Wire, chat_reply
from tests.gateway_protocols.conversations import answers, conversations, essence

PIECES = st.integers(1, 7)


class Replaying:
    """An upstream that gives the answers of a conversation in their order, and then a last word."""

    def __init__(self, conversation: Sequence[Wire]) -> None:
        self._answers = [message for message in conversation if message["role"] == "assistant"]

    def __call__(self, chat: Wire) -> Wire:
        if not self._answers:
            return chat_reply({"role": "assistant", "content": "done"})
        message = self._answers.pop(0)
        return chat_reply(message, "tool_calls" if message.get("tool_calls") else "stop")


@settings(max_examples=40)
@given(conversations(), PIECES, st.booleans())
def test_a_conversation_held_over_the_responses_api_is_the_same_in_chat(
    conversation: list[Wire], pieces: int, streaming: bool
) -> None:
    gateway = Gateway(Replaying(conversation), pieces)
    client = gateway.openai()
    items: list[Any] = []

    def ask() -> None:
        if streaming:
            with client.responses.stream(model="tiny", input=items, store=False) as stream:
                items.extend(stream.get_final_response().output)
        else:
            items.extend(client.responses.create(model="tiny", input=items, store=False).output)

    for message in conversation:
        if message["role"] == "assistant":
            ask()
        elif message["role"] == "tool":
            output = {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            items.append(output)
        else:
            items.append(message)
    ask()
    assert essence(gateway.chats[-1]["messages"], arguments=True) == essence(conversation, arguments=True)


@settings(max_examples=40)
@given(conversations(), PIECES, st.booleans())
def test_a_conversation_held_over_the_messages_api_is_the_same_in_chat(
    conversation: list[Wire], pieces: int, streaming: bool
) -> None:
    gateway = Gateway(Replaying(conversation), pieces)
    client = gateway.anthropic()
    messages: list[Any] = []
    system = {"system": conversation[0]["content"]} if conversation[0]["role"] == "system" else {}

    def ask() -> None:
        if streaming:
            with client.messages.stream(model="tiny", max_tokens=9, messages=messages, **system) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(model="tiny", max_tokens=9, messages=messages, **system)
        messages.append({"role": "assistant", "content": answer.content})

    for message in conversation:
        if message["role"] == "assistant":
            ask()
        elif message["role"] == "tool":
            block = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]}
            if messages[-1]["role"] == "user" and isinstance(messages[-1]["content"], list):
                messages[-1]["content"].append(block)
            else:
                messages.append({"role": "user", "content": [block]})
        elif message["role"] == "user":
            messages.append(message)
    ask()
    assert essence(gateway.chats[-1]["messages"], arguments=False) == essence(conversation, arguments=False)


@given(answers(2) | answers(0), PIECES)
def test_a_streamed_response_ends_as_the_whole_one_says(answer: Wire, pieces: int) -> None:
    gateway = Gateway(lambda chat: chat_reply(answer), pieces)
    whole = gateway.openai().responses.create(model="tiny", input="go")
    events = list(gateway.openai().responses.create(model="tiny", input="go", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.to_dict() == whole.to_dict()


@given(answers(2) | answers(0), PIECES)
def test_a_streamed_message_ends_as_the_whole_one_says(answer: Wire, pieces: int) -> None:
    gateway = Gateway(lambda chat: chat_reply(answer), pieces)
    whole = gateway.anthropic().messages.create(
        model="tiny", max_tokens=9, messages=[{"role": "user", "content": "go"}]
    )
    with gateway.anthropic().messages.stream(
        model="tiny", max_tokens=9, messages=[{"role": "user", "content": "go"}]
    ) as stream:
        streamed = stream.get_final_message()
    assert streamed.to_dict() == whole.to_dict()
