"""Tool calls read from sampled text, and streams that say the same as whole replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv_tiny.generation import FinishReason, Generation
from agentenv_tiny.replies import EventWriter, TokenTexts, chat_message, cut_at_stop
from agentenv_tiny.requests import ReplyOptions
from agentenv_tiny.toolcalls import ToolCall, parse_tool_calls
from agentenv_tiny.vocabulary import Vocabulary

CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "12*34"}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "content", "arguments"),
    [
        (CALL, None, ['{"expression": "12*34"}']),
        ("Let me see. " + CALL, "Let me see. ", ['{"expression": "12*34"}']),
        (CALL + "\n" + CALL, None, ['{"expression": "12*34"}'] * 2),
        (CALL.removesuffix("</tool_call>"), None, ['{"expression": "12*34"}']),
        (CALL.replace('{"expression": "12*34"}', "[1, null]"), None, ["[1, null]"]),
        (CALL.replace('{"expression": "12*34"}', '"12*34"'), None, ['"12*34"']),
        (CALL.replace('{"expression": "12*34"}', '{"a":"é"}'), None, ['{"a": "é"}']),
    ],
)
def test_valid_calls_are_read_with_arguments_as_json_text(text: str, content: str | None, arguments: list[str]) -> None:
    parsed = parse_tool_calls(text)
    assert parsed.content == content
    assert list(parsed.tool_calls) == [ToolCall("calculator", each) for each in arguments]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "408",
        "</tool_call>",
        "<tool_call>",
        "<tool_call></tool_call>",
        "<tool_call>[]</tool_call>",
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": Infinity}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "\\ud800"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": ' + "[" * 100_000 + "</tool_call>",
        CALL + "<tool_call>{</tool_call>",
        CALL[:-20],
    ],
)
def test_anything_else_stays_content_to_the_last_character(text: str) -> None:
    assert parse_tool_calls(text).content == text
    assert parse_tool_calls(text).tool_calls == ()


fragments = st.lists(
    st.sampled_from([CALL, CALL[:30], "<tool", "_call>", "</tool_call>", "a", "st", "op", "é", "{", " 12", "<|end|>"]),
    min_size=1,
    max_size=6,
).map("".join)


@given(
    text=fragments,
    stops=st.lists(st.sampled_from(["stop", "a", "é", "12*"]), max_size=2, unique=True),
    parse_tools=st.booleans(),
    chat=st.booleans(),
    quiet=st.booleans(),
    single_call=st.booleans(),
)
def test_the_deltas_of_a_stream_add_up_to_the_whole_reply(
    vocabulary: Vocabulary, text: str, stops: list[str], parse_tools: bool, chat: bool, quiet: bool, single_call: bool
) -> None:
    ids = vocabulary.encode(text)
    texts = TokenTexts(vocabulary)
    options = ReplyOptions(
        stream=True,
        include_usage=False,
        logprobs=not quiet,
        return_token_ids=not quiet,
        return_weight_versions=False,
        single_call=single_call,
    )
    parse = parse_tools and chat
    writer = EventWriter(
        model="tiny", chat=chat, parse_tools=parse, stops=stops, options=options, vocabulary=vocabulary, texts=texts
    )
    end = next(
        (n for n in range(1, len(ids) + 1) if any(stop in vocabulary.decode(ids[:n]) for stop in stops)), len(ids)
    )
    whole = Generation((1,), ids[:end], [-0.5] * end, (), (), FinishReason.STOP)
    states = [Generation((1,), ids[:n], [-0.5] * n, (), (), None) for n in range(1, end)]
    raw = b"".join(chunk for state in [*states, whole] for chunk in writer.chunks(state)).decode()
    lines = [line.removeprefix("data: ") for line in raw.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    choices: list[dict[str, Any]] = [json.loads(line)["choices"][0] for line in lines]
    visible, stop = cut_at_stop(vocabulary.decode(whole.token_ids), stops)
    assert [choice.get("stop_reason") for choice in choices] == [None] * (len(choices) - 1) + [stop]
    if chat:
        message = chat_message(visible, parse_tools=parse, single_call=single_call)
        deltas = [choice["delta"] for choice in choices]
        assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
        called = [call["function"] for delta in deltas for call in delta.get("tool_calls", [])]
        assert called == [call["function"] for call in message.get("tool_calls", [])]
    else:
        assert "".join(choice["text"] for choice in choices) == visible
    if not quiet:
        assert [index for choice in choices for index in choice.get("token_ids", [])] == ids[:end]
        key = "content" if chat else "tokens"
        assert sum(len(choice["logprobs"][key]) for choice in choices if choice["logprobs"]) == end


def test_without_parallel_calls_the_first_call_is_the_only_one() -> None:
    message = chat_message("Both: " + CALL + CALL, parse_tools=True, single_call=True)
    assert message["content"] == "Both: "
    assert len(message["tool_calls"]) == 1
    assert len(chat_message(CALL + CALL, parse_tools=True)["tool_calls"]) == 2


@given(logprobs=st.lists(st.floats(-30, 0), min_size=1, max_size=8), data=st.data())
def test_prepared_logprob_text_is_the_json_of_the_record(
    vocabulary: Vocabulary, logprobs: list[float], data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, 511), min_size=len(logprobs), max_size=len(logprobs)))
    texts = TokenTexts(vocabulary)
    generation = Generation((1,), ids, logprobs, (), (), FinishReason.STOP)
    assert json.loads(texts.chat_logprobs_text(generation)) == texts.chat_logprobs(generation)
