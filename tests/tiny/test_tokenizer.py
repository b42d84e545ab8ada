"""The tokenizer, the chat template and its native twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from agentenv_tiny import TinyPolicy, build_tokenizer, render_chat
from agentenv_tiny.encoder import PromptEncoder
from agentenv_tiny.vocabulary import Vocabulary

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.lists(
    st.sampled_from(["<|end|>", "<|en", "d|>", "<tool_call>", "</tool_call>", " 12", "345", "a b", '": {"', "é"]),
    max_size=8,
).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4).filter(str.isalpha), inner, max_size=2)
    ),
    max_leaves=4,
)
calls = st.fixed_dictionaries(
    {"type": st.just("function"), "id": st.just("call-1")}
    | {
        "function": st.fixed_dictionaries(
            {"name": texts, "arguments": texts | json_values.filter(lambda v: v is not None)}
        )
    }
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "tool"]), "content": st.none() | texts}
    )
    | st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | texts},
        optional={"tool_calls": st.lists(calls, max_size=2)},
    ),
    min_size=1,
    max_size=5,
)
tool_lists = st.none() | st.lists(
    texts.filter(bool).map(lambda name: {"type": "function", "function": {"name": name, "parameters": {}}}), max_size=3
)


def two_call_episode() -> list[dict[str, Any]]:
    def call(expression: str) -> dict[str, Any]:
        arguments = json.dumps({"expression": expression})
        function = {"name": "calculator", "arguments": arguments}
        return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}

    return [
        {"role": "user", "content": "12 times 34, then minus 5"},
        call("12*34"),
        {"role": "tool", "content": "408"},
        call("408-5"),
        {"role": "tool", "content": "403"},
        {"role": "assistant", "content": "403"},
    ]


CALCULATOR = [{"type": "function", "function": {"name": "calculator"}}]


@given(text=texts)
def test_any_text_survives_a_round_trip(policy: TinyPolicy, text: str) -> None:
    ids = policy.tokenizer.encode(text)
    assert policy.tokenizer.decode(ids, skip_special_tokens=False) == text


@given(number=st.integers(min_value=0, max_value=10**12))
def test_numbers_are_cut_into_chunks_of_two_digits_from_the_left(policy: TinyPolicy, number: int) -> None:
    digits = str(number)
    tokens = [policy.tokenizer.decode([index]) for index in policy.tokenizer.encode(digits)]
    assert tokens == [digits[start : start + 2] for start in range(0, len(digits), 2)]


def test_an_episode_of_two_tool_calls_takes_fifty_to_seventy_tokens(policy: TinyPolicy) -> None:
    ids = policy.tokenizer.encode(render_chat(two_call_episode(), CALCULATOR))
    assert 50 <= len(ids) <= 70


def test_training_the_tokenizer_twice_gives_the_same_tokenizer() -> None:
    assert build_tokenizer().backend_tokenizer.to_str() == build_tokenizer().backend_tokenizer.to_str()


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="need at least 264"):
        build_tokenizer(vocabulary_size=200)


@given(text=texts)
def test_auto_tokenizer_gives_the_same_ids_as_the_tokenizer_that_was_saved(
    policy: TinyPolicy, loaded_tokenizer: Any, text: str
) -> None:
    assert loaded_tokenizer.encode(text) == policy.tokenizer.encode(text)


def test_auto_tokenizer_keeps_the_ids_of_an_episode_and_its_template(policy: TinyPolicy, loaded_tokenizer: Any) -> None:
    expected = policy.tokenizer.encode(render_chat(two_call_episode(), CALCULATOR))
    rendered = loaded_tokenizer.apply_chat_template(two_call_episode(), tools=CALCULATOR, return_dict=True)
    assert rendered["input_ids"] == expected


@pytest.fixture(scope="module")
def loaded_tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@given(conversation=messages, tools=tool_lists, prompt=st.booleans())
def test_native_rendering_is_byte_identical_to_the_jinja_template(
    policy: TinyPolicy, conversation: list[dict[str, Any]], tools: list[dict[str, Any]] | None, prompt: bool
) -> None:
    expected = policy.tokenizer.apply_chat_template(
        conversation, tools=tools, tokenize=False, add_generation_prompt=prompt
    )
    assert render_chat(conversation, tools, add_generation_prompt=prompt) == expected


@given(conversation=messages, tools=tool_lists, data=st.data())
def test_the_ids_of_a_longer_conversation_begin_with_those_of_the_shorter_one(
    policy: TinyPolicy, conversation: list[dict[str, Any]], tools: list[dict[str, Any]] | None, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(1, len(conversation)))
    shorter = policy.tokenizer.encode(render_chat(conversation[:kept], tools))
    assert policy.tokenizer.encode(render_chat(conversation, tools))[: len(shorter)] == shorter


def test_the_assistant_mask_marks_exactly_what_the_policy_samples(policy: TinyPolicy) -> None:
    rendered = policy.tokenizer.apply_chat_template(
        two_call_episode(), tools=CALCULATOR, return_dict=True, return_assistant_tokens_mask=True
    )
    sampled = [index for index, ours in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if ours]
    assert policy.tokenizer.decode(sampled, skip_special_tokens=False) == (
        '<tool_call>{"name": "calculator", "arguments": {"expression": "12*34"}}</tool_call><|end|>'
        '<tool_call>{"name": "calculator", "arguments": {"expression": "408-5"}}</tool_call><|end|>'
        "403<|end|>"
    )


@given(text=texts)
def test_encoding_by_segments_equals_encoding_the_whole(vocabulary: Vocabulary, text: str) -> None:
    encoder = PromptEncoder(vocabulary, "<|end|>")
    assert encoder.encode(text) == vocabulary.encode(text)
    assert encoder.encode(text) == vocabulary.encode(text), "the second time it comes from the cache"


@given(ids=st.lists(st.integers(0, 511), max_size=12))
def test_the_byte_table_decodes_as_the_tokenizer_does(
    policy: TinyPolicy, vocabulary: Vocabulary, ids: list[int]
) -> None:
    text = vocabulary.decode(ids)
    if "\N{REPLACEMENT CHARACTER}" not in text:  # broken UTF-8 is replaced piecewise in another way
        assert text == policy.tokenizer.decode(ids, skip_special_tokens=True)
        assert vocabulary.decode_literally(ids) == policy.tokenizer.decode(ids, skip_special_tokens=False)
