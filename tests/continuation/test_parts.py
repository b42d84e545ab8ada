"""The parts of a proof: when messages are the same, what a completion can ask, what a server that fails costs."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.gateway.calls import Continuation, ForkReason
from agentenv.gateway.continuation import (
    Conversations,
    DriftStatistics,
    RendererError,
    ServerRenderer,
    chat_answer,
    read_ids,
)
from agentenv.gateway.continuation.canonical import canonical, chain, holds_media, listing, reading
from agentenv.gateway.continuation.completions import completion_body, only_chat_can
from agentenv.gateway.continuation.exact import CanonicalPrompt, pack
from agentenv.gateway.wirejson import spelling
from agentenv.messages import Wire


def call(arguments: str, id: str = "c1") -> Wire:
    return {"id": id, "type": "function", "function": {"name": "add", "arguments": arguments}}


ANSWER: Wire = {"role": "assistant", "content": None, "tool_calls": [call('{"a": 1, "b": 2}')]}


@pytest.mark.parametrize(
    "echo",
    [
        {"tool_calls": ANSWER["tool_calls"], "role": "assistant"},
        ANSWER | {"content": ""},
        ANSWER | {"refusal": None, "annotations": [], "audio": {}, "function_call": None},
        ANSWER | {"tool_calls": [call('{"b":2,"a":1}')]},
        ANSWER | {"tool_calls": [ANSWER["tool_calls"][0] | {"index": 0}]},
        ANSWER | {"reasoning_content": "one and two"},
    ],
)
def test_an_answer_sent_back_in_another_form_is_the_same_message(echo: Wire) -> None:
    assert canonical(echo) == canonical(ANSWER)


@pytest.mark.parametrize(
    "edited",
    [
        ANSWER | {"content": "so"},
        ANSWER | {"role": "user"},
        ANSWER | {"tool_calls": []},
        ANSWER | {"tool_calls": [call('{"a": 1}')]},
        ANSWER | {"tool_calls": [call('{"a": 1, "b": 2}', id="c2")]},
        ANSWER | {"tool_calls": [call('{"a": 1, "b": 2')]},
        ANSWER | {"name": "helper"},
        ANSWER | {"tool_call_id": "c1"},
    ],
)
def test_an_edited_answer_is_another_message(edited: Wire) -> None:
    assert canonical(edited) != canonical(ANSWER)


def test_text_of_a_user_counts_to_the_last_space_and_an_answers_does_not() -> None:
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}
    assert canonical(user) != canonical(user | {"content": "a "})
    assert canonical(answer) == canonical(answer | {"content": " a\n"})
    assert canonical(user) == canonical(user | {"content": [{"type": "text", "text": "a"}]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


telling_values = st.recursive(
    st.sampled_from([2**64, 2**64 + 1, -(2**63) - 1, 2**53, float(2**64), 1, 1.0, 0.5, True, None, "1", "\ud800", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)


@given(telling_values, telling_values)
def test_arguments_have_one_spelling_exactly_where_they_are_equal(one: Any, other: Any) -> None:
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (spelling(json.dumps(one)) == spelling(json.dumps(other))) == equal
    assert spelling(json.dumps(one, indent=1)) == spelling(json.dumps(one))
    assert isinstance(one, str) or spelling(one) == spelling(json.dumps(one))


@pytest.mark.parametrize("text", ["NaN", "[1e400]", "{", "", "[" * 100_000, "[" * 2000 + "]" * 2000])
def test_arguments_that_are_hardly_json_have_a_spelling_too(text: str) -> None:
    assert spelling(text) == spelling(text)


@given(
    st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name", "x"]), json_values), max_size=4)
)
def test_whatever_json_a_client_sends_has_a_digest(messages: list[Wire]) -> None:
    assert len(list(chain(messages))) == len(messages)
    for message in messages:
        reading(message)


def test_arguments_nested_beyond_measure_are_compared_as_text() -> None:
    deep = "[" * 100_000
    assert canonical(ANSWER | {"tool_calls": [call(deep)]}) != canonical(ANSWER | {"tool_calls": [call(deep + "[")]})
    nested = "[" * 800 + "]" * 800
    assert canonical(ANSWER | {"tool_calls": [call(nested)]}) == canonical(ANSWER | {"tool_calls": [call(nested)]})


def test_every_beginning_of_a_conversation_has_a_digest_of_its_own() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    digests = list(chain(messages))
    assert len(set(digests)) == 3
    assert list(chain(messages[:2])) == digests[:2]


def test_a_template_sees_tools_and_its_own_options_but_not_how_to_sample() -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"a": 1, "b": 2}}}]
    same = [{"function": {"parameters": {"b": 2, "a": 1}, "name": "add"}, "type": "function"}]
    assert listing(tools, {"temperature": 1.0}) == listing(same, {"max_tokens": 3, "chat_template_kwargs": {}})
    assert listing(tools, {}) != listing(tools, {"chat_template_kwargs": {"enable_thinking": False}})
    assert listing(tools, {}) != listing([], {})


def test_pictures_are_media_and_parts_of_text_are_none() -> None:
    assert not holds_media([{"role": "user", "content": [{"type": "text", "text": "a"}]}])
    assert holds_media([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}])


def test_a_completion_asks_what_the_chat_asked() -> None:
    kept = {"model": "m", "temperature": 0.5, "seed": 3, "stop": ["x"], "return_token_ids": True, "stream": False}
    translated = {"max_completion_tokens": 7, "max_tokens": 9, "logprobs": True, "top_logprobs": 2}
    left_out = {"tool_choice": "auto", "reasoning_effort": "low"}
    body = completion_body(kept | translated | left_out, (1, 2), 100)
    assert body == kept | {"max_tokens": 7, "logprobs": 2, "prompt": [1, 2]}


def test_a_completion_without_a_limit_may_fill_the_context_as_a_chat_may() -> None:
    assert completion_body({"max_tokens": None}, (1,), 100)["max_tokens"] == 100
    assert "max_tokens" not in completion_body({}, (1,), None)
    assert completion_body({"logprobs": False}, (1,), 5)["logprobs"] is None
    assert completion_body({}, (1,), 5, skip_special_tokens=False)["skip_special_tokens"] is False


@pytest.mark.parametrize(("field", "value"), [("tool_choice", "none"), ("n", 1), ("temperature", 2.0), ("stop", ["a"])])
def test_what_a_completion_can_do_too_needs_no_chat_route(field: str, value: Any) -> None:
    assert not only_chat_can({field: value})


def completion(**choice: Any) -> Wire:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [{"index": 0, "text": "a", "finish_reason": "stop"} | choice],
    }


def test_an_end_of_turn_says_nothing_and_a_stop_string_does() -> None:
    assert read_ids(completion(token_ids=[5, 6, 1], stop_reason=None)) == [5, 6]
    assert read_ids(completion(token_ids=[5, 6, 7], stop_reason="x")) == [5, 6, 7]
    assert read_ids(completion(token_ids=[5, 6, 7], finish_reason="length")) == [5, 6, 7]
    assert read_ids(completion()) == []


def test_a_message_of_text_is_the_servers_text_and_a_tool_call_is_the_parsers() -> None:
    text = chat_answer(completion(prompt_token_ids=[1], token_ids=[5]), {"role": "assistant", "content": "ab x"})
    assert text["choices"][0]["message"] == {"role": "assistant", "content": "a"}
    assert (text["id"], text["object"], text["prompt_token_ids"]) == ("chatcmpl-1", "chat.completion", [1])
    assert text["choices"][0]["token_ids"] == [5]
    called = chat_answer(completion(), ANSWER)
    assert called["choices"][0]["message"] == ANSWER
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    aborted = chat_answer(completion(finish_reason="abort"), ANSWER)
    assert aborted["choices"][0]["finish_reason"] == "abort"


def test_logprobs_come_in_the_chat_form() -> None:
    given = {"tokens": ["é"], "token_logprobs": [-0.5], "top_logprobs": [{"é": -0.5, "b": -1.0}], "text_offset": [0]}
    message = {"role": "assistant", "content": "é"}
    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    plain = chat_answer(completion(logprobs=given), message)["choices"][0]["logprobs"]
    assert plain == {"content": [entry | {"top_logprobs": []}]}
    top = chat_answer(completion(logprobs=given), message, top_logprobs=1)["choices"][0]["logprobs"]
    assert top == {"content": [entry | {"top_logprobs": [entry]}]}
    assert chat_answer(completion(logprobs=given), message, top_logprobs=None)["choices"][0]["logprobs"] is None


def test_a_canonical_prompt_knows_its_continuations_but_for_the_last_few_ids() -> None:
    prompt = CanonicalPrompt.of(pack(range(10)))
    assert prompt.begins(pack([*range(6), 77, 78, 79]))
    assert not prompt.begins(pack([*range(5), 77, 78, 79]))
    assert not prompt.begins(pack(range(5)))
    assert CanonicalPrompt.of(pack(range(10)), shared=2).start == 8
    assert CanonicalPrompt.of(pack(range(2))).start == 0


class Server:
    """Answers what a test says, by path."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def post(self, path: str, body: Wire) -> tuple[int, Any]:
        self.asked.append(path)
        answer = self.answers.get(path, (404, {"detail": "Not Found"}))
        if isinstance(answer, BaseException):
            raise answer
        return answer


RENDER, DERENDER = "/v1/chat/completions/render", "/v1/chat/completions/derender"


async def test_a_server_is_asked_once_whether_it_can_render() -> None:
    able = Server({RENDER: (400, {}), DERENDER: (422, {})})
    renderer = ServerRenderer(able.post, "m")
    assert await renderer.ready()
    assert await renderer.ready()
    assert able.asked == [RENDER, DERENDER]
    assert not await ServerRenderer(Server({RENDER: (400, {})}).post, "m").ready()
    switched_off = Server({RENDER: (403, {}), DERENDER: (403, {})})
    assert not await ServerRenderer(switched_off.post, "m").ready()


async def test_a_server_that_does_not_answer_is_asked_again_another_time() -> None:
    server = Server({RENDER: ConnectionResetError()})
    renderer = ServerRenderer(server.post, "m")
    assert not await renderer.ready()
    server.answers = {RENDER: (400, {}), DERENDER: (503, {})}
    assert not await renderer.ready()
    server.answers = {RENDER: (400, {}), DERENDER: (400, {})}
    assert await renderer.ready()


@pytest.mark.parametrize(
    "answer", [(500, {}), (200, []), (200, {}), (200, {"token_ids": 3}), ConnectionResetError(), TimeoutError()]
)
async def test_whatever_a_server_answers_instead_is_a_renderer_error(answer: Any) -> None:
    renderer = ServerRenderer(Server({RENDER: answer, DERENDER: answer, "/detokenize": answer}).post, "m")
    with pytest.raises(RendererError, match="render"):
        await renderer.render([], [], add_generation_prompt=True, options={})
    with pytest.raises(RendererError, match="detokenize"):
        await renderer.spell([1])
    with pytest.raises(RendererError, match="derender"):
        await renderer.read_answer([1], [2], [], [], {})


async def test_a_server_that_hangs_is_given_up() -> None:
    async def hang(path: str, body: Wire) -> tuple[int, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(RendererError, match="did not answer"):
        await ServerRenderer(hang, "m", seconds=0.01).spell([1])


def test_drift_adds_up_over_sessions() -> None:
    one = DriftStatistics.of(
        [(Continuation.OPENING, None), (Continuation.MERGED, None), (Continuation.REALIGNED, None)], 7
    )
    other = DriftStatistics.of([(Continuation.OPENING, None), (Continuation.FORKED, ForkReason.HISTORY_EDITED)])
    both = sum([one, other], DriftStatistics())
    assert (both.total, both.continued, both.tokens_realigned) == (5, 3, 7)
    assert both.share(Continuation.OPENING) == 2 / 5
    assert both.metrics() == {
        "drift/merged": 1 / 3,
        "drift/realigned": 1 / 3,
        "drift/forked": 1 / 3,
        "drift/forked/history_edited": 1.0,
        "drift/tokens_realigned": 7.0,
    }
    assert str(both).endswith("33.3 % realigned (7 tokens), 33.3 % forked (history_edited 1)")


class Tokens:
    """Ids that live elsewhere."""

    def __init__(self, prompt: bytes, sampled: bytes) -> None:
        self.prompt, self.sampled = prompt, sampled

    def ids(self) -> bytes:
        return self.prompt + self.sampled


async def test_a_session_of_two_turns_is_remembered_in_two_thousand_bytes() -> None:
    renderer = ServerRenderer(Server({}).post, "m")
    tokens = Tokens(pack(range(60)), pack(range(20)))
    system, user = {"role": "system", "content": "Use the tools."}, {"role": "user", "content": "12 times 34"}
    result = {"role": "tool", "tool_call_id": "c1", "content": "408"}

    async def session() -> Conversations:
        conversations = Conversations()
        for messages in ([system, user], [system, user, ANSWER, result]):
            (plan,) = [plan async for plan in conversations.plans(messages, (), {}, renderer)]
            conversations.learn(plan, ANSWER, tokens, "tool_calls")
        return conversations

    await session()
    gc.collect()
    tracemalloc.start()
    kept = [await session() for _ in range(200)]
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    assert size < 2000
