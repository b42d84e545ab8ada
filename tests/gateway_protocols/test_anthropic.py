"""The Messages API as the `anthropic` client sees it, over a chat server."""

from __future__ import annotations

from typing import Any

import anthropic as client_library
import httpx2
import pytest

from agentenv.gateway.protocols import ProtocolError, anthropic
from tests.gateway_protocols.clients import Gateway, Wire, call, chat_reply, chunks_of, said

TOOL: Any = {"name": "calculator", "description": "One operation.", "input_schema": {"type": "object"}}
HELLO: Any = [{"role": "user", "content": "Hello"}]
PNG = {"type": "base64", "media_type": "image/png", "data": "AA"}


def answering(message: Wire, finish_reason: str = "stop", **choice: Any) -> Gateway:
    return Gateway(lambda chat: chat_reply(message, finish_reason, **choice))


def both_ways(gateway: Gateway, **parameters: Any) -> list[client_library.types.Message]:
    """The message, asked for whole and as a stream."""
    client = gateway.anthropic()
    whole = client.messages.create(model="tiny", max_tokens=9, messages=HELLO, **parameters)
    with client.messages.stream(model="tiny", max_tokens=9, messages=HELLO, **parameters) as stream:
        return [whole, stream.get_final_message()]


def test_every_parameter_with_a_counterpart_reaches_the_chat_server() -> None:
    gateway = answering(said("ok"))
    gateway.anthropic().messages.create(
        model="tiny",
        max_tokens=7,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=HELLO,
        tools=[TOOL | {"strict": True, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        metadata={"user_id": "me"},
        extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 1},
    )
    (chat,) = gateway.chats
    assert chat == {
        "model": "tiny",
        "max_completion_tokens": 7,
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Hello"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "calculator",
                    "description": "One operation.",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": ["END"],
        "thinking_token_budget": 1024,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": {"type": "object"}}},
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "seed": 1,
    }


def test_an_answer_with_everything_is_typed_blocks_in_order() -> None:
    reply = said("Let me see.", call("call_1"), call("call_2", "search", "{}"), reasoning="Two calls.")
    for message in both_ways(answering(reply, "tool_calls")):
        thinking, text, first, second = message.content
        assert message.stop_reason == "tool_use"
        assert thinking.type == "thinking"
        assert thinking.thinking == "Two calls."
        assert thinking.signature
        assert text.type == "text"
        assert text.text == "Let me see."
        assert first.type == second.type == "tool_use"
        assert (first.id, first.name, first.input) == ("call_1", "calculator", {"expression": "12*34"})
        assert (second.id, second.name, second.input) == ("call_2", "search", {})
        assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 5)


def test_tokens_read_from_the_cache_are_not_counted_as_input() -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
    for message in both_ways(Gateway(lambda chat: chat_reply(said("ok")) | {"usage": usage})):
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (3, 8)


@pytest.mark.parametrize(
    ("finish_reason", "met", "stop_reason", "stop_sequence"),
    [
        ("stop", None, "end_turn", None),
        ("stop", 151645, "end_turn", None),
        ("stop", "END", "stop_sequence", "END"),
        ("length", None, "max_tokens", None),
        ("content_filter", None, "refusal", None),
        ("abort", None, "max_tokens", None),
    ],
)
def test_how_the_answer_ended_is_its_stop_reason(
    finish_reason: str, met: int | str | None, stop_reason: str, stop_sequence: str | None
) -> None:
    for message in both_ways(answering(said("12"), finish_reason, stop_reason=met)):
        assert (message.stop_reason, message.stop_sequence) == (stop_reason, stop_sequence)


def test_a_call_is_a_tool_use_even_where_the_server_calls_it_a_stop() -> None:
    """vLLM says "stop" when the caller had named the tool."""
    for message in both_ways(answering(said(None, call("call_1")), "stop")):
        assert message.stop_reason == "tool_use"


@pytest.mark.parametrize(
    "arguments", ['{"expression": ', "12*34", "[1]", '"x"', "NaN", '{"a": Infinity}', '{"a": 1e999}']
)
def test_arguments_that_are_no_object_reach_the_agent_and_come_back_to_the_letter(arguments: str) -> None:
    for message in both_ways(answering(said(None, call("call_1", arguments=arguments)), "tool_calls")):
        (use,) = message.content
        assert use.type == "tool_use"
        assert use.input == {anthropic.INVALID_JSON: arguments}
        gateway = answering(said("done"))
        result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "bad"}]}
        history: Any = [*HELLO, {"role": "assistant", "content": message.content}, result]
        gateway.anthropic().messages.create(model="tiny", max_tokens=9, messages=history)
        assert gateway.chats[0]["messages"][1:] == [
            said(None, call("call_1", arguments=arguments)),
            {"role": "tool", "tool_call_id": "call_1", "content": "bad"},
        ]


def test_a_stream_tells_of_every_block_from_its_beginning_to_its_end() -> None:
    reply = said("12", call("call_1", arguments="{}"), reasoning="hm")
    client = answering(reply, "tool_calls").anthropic()
    events = client.messages.create(model="tiny", max_tokens=9, messages=HELLO, stream=True)
    assert [(event.type, getattr(event, "index", None)) for event in events] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_the_prompt_is_counted_at_the_start_where_the_server_sends_its_ids() -> None:
    stream = anthropic.Stream({"model": "tiny"})
    (event,) = stream.feed(chunks_of(chat_reply(said("1")), 1)[0] | {"prompt_token_ids": [1, 2, 3]})
    assert b'"input_tokens": 3' in event


def test_an_answer_that_says_nothing_is_one_empty_text() -> None:
    for message in both_ways(answering(said(""))):
        assert [block.to_dict() for block in message.content] == [{"type": "text", "text": ""}]


def test_content_of_every_translatable_kind_becomes_chat_messages() -> None:
    chat = anthropic.to_chat(
        {
            "max_tokens": 1,
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "source": PNG}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {}}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "1", "is_error": True},
                        {
                            "type": "tool_result",
                            "tool_use_id": "2",
                            "content": [{"type": "image", "source": {"type": "url", "url": "http://picture"}}],
                        },
                        {"type": "text", "text": "And now?"},
                    ],
                },
                {"role": "system", "content": "Hurry."},
            ],
        }
    )
    assert chat["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {
            "role": "tool",
            "tool_call_id": "2",
            "content": [{"type": "image_url", "image_url": {"url": "http://picture"}}],
        },
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
        {"role": "system", "content": "Hurry."},
    ]


def user(*blocks: Wire) -> Wire:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "The answer is ("}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (user({"type": "document", "source": {}}), "messages[0].content[0].type"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0].source.type"),
        (user({"type": "tool_result", "content": "x"}), "messages[0].content[0].tool_use_id"),
        ({"system": [{"type": "image", "source": PNG}]}, "system[0].type"),
        ({"tools": [TOOL, {"type": "bash_20250124", "name": "bash"}]}, "tools[1].type"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL | {"color": "red"}]}, "tools[0].color"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
        ({"container": "c"}, "container"),
        ({"mystery": 1}, "mystery"),
    ],
)
def test_what_chat_completions_cannot_say_is_refused_by_name(body: Wire, param: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        anthropic.to_chat({"model": "tiny", "max_tokens": 9, "messages": HELLO} | body)
    assert refused.value.param == param
    assert param in str(refused.value)


def test_the_client_gets_a_bad_request_error_that_names_the_parameter() -> None:
    with pytest.raises(client_library.BadRequestError, match="container"):
        answering(said("ok")).anthropic().messages.create(
            model="tiny", max_tokens=9, messages=HELLO, container="somewhere"
        )


@pytest.mark.parametrize("name", sorted(anthropic.IGNORED))
def test_an_ignored_parameter_changes_nothing(name: str) -> None:
    body = {"model": "tiny", "max_tokens": 9, "messages": HELLO}
    assert anthropic.to_chat(body | {name: "anything"}) == anthropic.to_chat(body)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, client_library.AuthenticationError),
        (404, client_library.NotFoundError),
        (413, client_library.RequestTooLargeError),
        (429, client_library.RateLimitError),
        (503, client_library.ServiceUnavailableError),
        (504, client_library.DeadlineExceededError),
    ],
)
def test_each_status_is_the_exception_that_the_client_knows(status: int, error: type[Exception]) -> None:
    answer = httpx2.Response(status, json=anthropic.error_body(status, "because"))
    with pytest.raises(error, match="because"):
        client_with(answer).messages.create(model="tiny", max_tokens=9, messages=HELLO)


@pytest.mark.parametrize("told", [True, False], ids=["failed by the gateway", "reported in the stream"])
def test_a_failure_in_the_middle_of_a_stream_raises_in_the_client(told: bool) -> None:
    stream = anthropic.Stream({"model": "tiny"})
    chunks = chunks_of(chat_reply(said("1234")), 1)[:3]
    error = {"message": "the engine died"}
    ending = stream.fail if told else lambda wire: stream.feed({"error": wire})
    events = [*(event for chunk in chunks for event in stream.feed(chunk)), *ending(error)]
    assert stream.finish() == []
    with pytest.raises(client_library.APIStatusError, match="the engine died"):
        read_stream(events)


def test_a_stream_that_ends_before_its_answer_does_is_a_failure() -> None:
    stream = anthropic.Stream({"model": "tiny"})
    events = [event for chunk in chunks_of(chat_reply(said("1234")), 1)[:3] for event in stream.feed(chunk)]
    with pytest.raises(client_library.APIStatusError, match="ended before"):
        read_stream([*events, *stream.finish()])


def client_with(answer: httpx2.Response) -> client_library.Anthropic:
    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))
    return client_library.Anthropic(base_url="http://gateway", api_key="none", max_retries=0, http_client=client)


def read_stream(events: list[bytes]) -> None:
    answer = httpx2.Response(200, content=b"".join(events), headers={"content-type": "text/event-stream"})
    for _ in client_with(answer).messages.create(model="tiny", max_tokens=9, messages=HELLO, stream=True):
        pass


def test_an_answer_in_several_texts_was_sampled_in_one_go() -> None:
    blocks = [{"type": "text", "text": "12"}, {"type": "text", "text": "34"}]
    chat = anthropic.to_chat({"max_tokens": 1, "messages": [{"role": "assistant", "content": blocks}, *HELLO]})
    assert chat["messages"][0]["content"] == "1234"


def test_valid_arguments_come_back_spelt_as_vllm_spells_them() -> None:
    arguments = '{"city": "Zürich", "days": [1, 2.5]}'
    for message in both_ways(answering(said(None, call("call_1", arguments=arguments)), "tool_calls")):
        history = [{"role": "assistant", "content": [block.to_dict() for block in message.content]}, *HELLO]
        chat = anthropic.to_chat({"max_tokens": 1, "messages": history})
        assert chat["messages"][0]["tool_calls"] == [call("call_1", arguments=arguments)]
