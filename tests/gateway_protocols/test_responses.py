"""The Responses API as the `openai` client sees it, over a chat server."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from agentenv.gateway.protocols import ProtocolError, responses
from tests.gateway_protocols.clients import Gateway, Wire, call, chat_reply, chunks_of, said, stream_events

TOOL: Any = {
    "type": "function",
    "name": "calculator",
    "description": "One operation.",
    "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    "strict": True,
}


def answering(message: Wire, finish_reason: str = "stop", **choice: Any) -> Gateway:
    return Gateway(lambda chat: chat_reply(message, finish_reason, **choice))


def test_every_parameter_with_a_counterpart_reaches_the_chat_server() -> None:
    gateway = answering(said("ok"))
    gateway.openai().responses.create(
        model="tiny",
        instructions="Be brief.",
        input="Hello",
        tools=[TOOL],
        tool_choice={"type": "function", "name": "calculator"},
        parallel_tool_calls=False,
        max_output_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_logprobs=2,
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        extra_body={"top_k": 3, "seed": 1, "chat_template_kwargs": {"enable_thinking": False}},
        metadata={"a": "b"},
        store=False,
        user="me",
    )
    (chat,) = gateway.chats
    function = {key: TOOL[key] for key in ("name", "description", "parameters", "strict")}
    assert chat == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "calculator"}},
        "parallel_tool_calls": False,
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "top_k": 3,
        "seed": 1,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_an_answer_with_everything_is_typed_items_in_order() -> None:
    reply = said("Let me see.", call("call_1"), call("call_2", "search", "{}"), reasoning="Two calls.")
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
    gateway = Gateway(lambda chat: chat_reply(reply, "tool_calls") | {"usage": usage})
    response = gateway.openai().responses.create(model="tiny", input="go", tools=[TOOL], metadata={"a": "b"})
    assert response.status == "completed"
    assert response.incomplete_details is None
    reasoning, message, first, second = response.output
    assert reasoning.type == "reasoning"
    assert reasoning.content is not None
    assert [part.text for part in reasoning.content] == ["Two calls."]
    assert message.type == "message"
    assert response.output_text == "Let me see."
    assert first.type == second.type == "function_call"
    assert (first.call_id, first.name, first.arguments) == ("call_1", "calculator", '{"expression": "12*34"}')
    assert (second.call_id, second.name, second.arguments) == ("call_2", "search", "{}")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (11, 5, 16)
    assert response.usage.input_tokens_details.cached_tokens == 8
    assert response.tools[0].type == "function"
    assert response.metadata == {"a": "b"}
    assert len({item.id for item in response.output}) == 4


@pytest.mark.parametrize(
    ("finish_reason", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("abort", "incomplete", None),
    ],
)
def test_how_the_answer_ended_is_its_status(finish_reason: str, status: str, reason: str | None) -> None:
    client = answering(said("12 ti"), finish_reason).openai()
    whole = client.responses.create(model="tiny", input="go")
    streamed = list(client.responses.create(model="tiny", input="go", stream=True))[-1]
    assert streamed.type == f"response.{status}"
    for response in (whole, streamed.response):
        assert response.status == status
        assert (response.incomplete_details and response.incomplete_details.reason) == reason
        assert response.output[-1].status == status


def test_a_stream_tells_of_every_item_from_its_beginning_to_its_end() -> None:
    reply = said("12", call("call_1", arguments="{}"), reasoning="hm")
    client = answering(reply, "tool_calls").openai()
    events = list(client.responses.create(model="tiny", input="go", stream=True))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event.output_index for event in events if hasattr(event, "output_index")] == [0] * 6 + [1] * 3 + [
        2,
        2,
        1,
        1,
        1,
        2,
        2,
    ]


def test_log_probabilities_are_there_when_asked_for_and_only_then() -> None:
    tokens = [{"token": "4", "logprob": -0.5, "bytes": [52], "top_logprobs": []}]
    client = answering(said("4"), logprobs={"content": tokens}).openai()
    silent = client.responses.create(model="tiny", input="go")
    asked = client.responses.create(model="tiny", input="go", include=["message.output_text.logprobs"])
    assert silent.output[0].content[0].logprobs is None
    assert [entry.logprob for entry in asked.output[0].content[0].logprobs] == [-0.5]


def test_a_refusal_is_a_refusal() -> None:
    client = answering({"role": "assistant", "content": None, "refusal": "No."}).openai()
    whole = client.responses.create(model="tiny", input="go")
    streamed = list(client.responses.create(model="tiny", input="go", stream=True))[-1].response
    assert whole.output[0].content[0].refusal == streamed.output[0].content[0].refusal == "No."


def test_the_client_parses_structured_output_and_tool_arguments() -> None:
    class Sum(BaseModel):
        value: int

    client = answering(said('{"value": 4}')).openai()
    assert client.responses.parse(model="tiny", input="2+2", text_format=Sum).output_parsed == Sum(value=4)


def test_text_that_comes_after_a_call_has_begun_belongs_to_the_same_message() -> None:
    chunks = chunks_of(chat_reply(said("a", call("call_1"))), 99)
    late = chunks[0] | {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": None}]}
    chunks.insert(-2, late)
    events = b"".join(stream_events(responses.Stream({"model": "tiny"}), chunks)).decode()
    gateway = answering(said("done"))
    last = events.split("data: ")[-1]
    output = openai.types.responses.ResponseCompletedEvent.model_validate_json(last).response.output
    gateway.openai().responses.create(model="tiny", input=output)
    assert gateway.chats[0]["messages"] == [said("ab", call("call_1"))]


def test_content_of_every_translatable_kind_becomes_chat_parts() -> None:
    chat = responses.to_chat(
        {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is this?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                    ],
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": [{"type": "input_image", "image_url": "http://picture", "detail": "auto"}],
                },
            ]
        }
    )
    question, result = chat["messages"]
    assert question["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}},
    ]
    assert result == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": [{"type": "image_url", "image_url": {"url": "http://picture", "detail": "auto"}}],
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL | {"color": "red"}]}, "tools[0].color"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hello"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_video"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0].encrypted_content"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"mystery": 1}, "mystery"),
    ],
)
def test_what_chat_completions_cannot_say_is_refused_by_name(body: Wire, param: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        responses.to_chat({"model": "tiny", "input": "hello"} | body)
    assert refused.value.param == param
    assert param in str(refused.value)


def test_the_client_gets_a_bad_request_error_that_names_the_parameter() -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        answering(said("ok")).openai().responses.create(model="tiny", input="hello", truncation="auto")
    assert refused.value.param == "truncation"


@pytest.mark.parametrize("name", sorted(responses.IGNORED))
def test_an_ignored_parameter_changes_nothing(name: str) -> None:
    body = {"model": "tiny", "input": "hello"}
    assert responses.to_chat(body | {name: "anything"}) == responses.to_chat(body)


def test_a_session_that_remembers_its_answers_can_go_on_from_one() -> None:
    first: Wire = {"model": "tiny", "instructions": "Be brief.", "input": "2+2"}
    reply = chat_reply(said("4"))
    kept = {responses.response_id(reply): [*responses.to_chat(first)["messages"][1:], said("4")]}
    response = responses.from_chat(reply, first)
    following = {"previous_response_id": response["id"], "instructions": "Be long.", "input": "and 3+3?"}
    assert responses.to_chat(following, kept.get)["messages"] == [
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": "2+2"},
        said("4"),
        {"role": "user", "content": "and 3+3?"},
    ]
    assert responses.from_chat(chat_reply(said("6")), following)["previous_response_id"] == response["id"]


@pytest.mark.parametrize("told", [True, False], ids=["failed by the gateway", "reported in the stream"])
def test_a_failure_in_the_middle_of_a_stream_raises_in_the_client(told: bool) -> None:
    stream = responses.Stream({"model": "tiny"})
    chunks = chunks_of(chat_reply(said("1234")), 1)[:3]
    error = {"message": "the engine died", "type": "server_error", "code": None}
    ending = stream.fail if told else lambda wire: stream.feed({"error": wire})
    events = b"".join([*(event for chunk in chunks for event in stream.feed(chunk)), *ending(error)])
    assert stream.finish() == []
    seen = []
    with pytest.raises(openai.APIError, match="the engine died"):
        seen += list(openai_events(events))
    assert b"response.failed" in events


def test_a_stream_that_ends_before_its_answer_does_is_a_failure() -> None:
    stream = responses.Stream({"model": "tiny"})
    events = [event for chunk in chunks_of(chat_reply(said("1234")), 1)[:3] for event in stream.feed(chunk)]
    with pytest.raises(openai.APIError, match="ended before"):
        list(openai_events(b"".join([*events, *stream.finish()])))


def openai_events(content: bytes) -> Any:
    import httpx2

    answer = httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})
    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))
    return openai.OpenAI(base_url="http://gateway/v1", api_key="none", http_client=client).responses.create(
        model="tiny", input="go", stream=True
    )


def test_reasoning_in_several_items_is_one_thought() -> None:
    thoughts = [{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": t}]} for t in "ab"]
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "c"}]}
    chat = responses.to_chat({"input": [*thoughts, summary, {"role": "user", "content": "go"}]})
    assert chat["messages"][0] == said(None, reasoning="abc")
