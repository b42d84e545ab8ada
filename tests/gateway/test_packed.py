"""Tokens and messages kept small come back as they were; streams may be cut anywhere."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.episode import EpisodeKey, Usage
from agentenv.gateway.answers import add_delta
from agentenv.gateway.calls import Protocol
from agentenv.gateway.continuation import Conversations
from agentenv.gateway.events import EventCutter, payload
from agentenv.gateway.packed import ID_BYTES, MessageTree, PackedTokens, SharedBytes, shared_ids, unpack_ids
from agentenv.gateway.relay import chunks_of
from agentenv.gateway.sessions import Session
from agentenv.gateway.wirejson import dumps, loads
from agentenv.tasks import Task
from agentenv.tokens import TokenRecord, TokenRecordError, VersionSpan

IDS = st.lists(st.integers(0, 3), max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False, max_value=0)


def new_session() -> Session:
    return Session("s", Task("t"), EpisodeKey("e", "t", "t", 0), 0, {}, SharedBytes())


def packed(prompt: list[int], sampled: list[int]) -> PackedTokens:
    return PackedTokens.of(prompt, sampled, [-0.5] * len(sampled), (VersionSpan(0, 0, len(sampled)),))


@given(st.lists(st.integers(0, 2**31 - 1)), st.lists(st.tuples(st.integers(0, 2**31 - 1), FINITE)))
def test_a_packed_record_is_the_record(prompt: list[int], sampled: list[tuple[int, float]]) -> None:
    ids, logprobs = [token for token, _ in sampled], [value for _, value in sampled]
    versions = (VersionSpan(3, 0, len(ids)),)
    expected = TokenRecord(tuple(prompt), tuple(ids), tuple(logprobs), versions)
    assert PackedTokens.of(prompt, ids, logprobs, versions).unpacked() == expected


@pytest.mark.parametrize("ids", [[-1], [2**32], [1.5], ["1"], [None], "12"])
def test_what_is_no_token_id_is_refused(ids: Any) -> None:
    with pytest.raises(TokenRecordError):
        packed(ids, [])


@given(IDS, IDS)
def test_the_shared_beginning_is_found_without_a_loop_over_ids(left: list[int], right: list[int]) -> None:
    expected = 0
    while expected < min(len(left), len(right)) and left[expected] == right[expected]:
        expected += 1
    assert shared_ids(packed(left, []).prompt, packed(right, []).prompt) == expected


@given(st.lists(st.tuples(IDS, IDS, st.booleans()), max_size=12))
def test_calls_kept_as_differences_give_back_every_token(turns: list[tuple[list[int], list[int], bool]]) -> None:
    """Whatever a session's prompts have in common, and whether they go on from each other or not."""
    session, expected = new_session(), []
    whole: list[int] = []
    for index, (fresh, sampled, goes_on) in enumerate(turns):
        prompt = [*whole, *fresh] if goes_on else fresh
        call = session.begin_call(Protocol.CHAT, [{"role": "user", "content": str(index)}], (), {})
        session.keep_answer(call, {"role": "assistant", "content": "x"}, packed(prompt, sampled))
        expected.append(packed(prompt, sampled).unpacked())
        whole = [*prompt, *sampled]
    records = [session.record(call) for call in session.calls]
    assert [record.tokens for record in records] == expected
    assert [unpack_ids(call.ids()) for call in session.calls] == [
        record.prompt_ids + record.sampled_ids for record in expected
    ]


def test_a_thousand_turns_take_room_for_their_own_tokens_only() -> None:
    session, prompt = new_session(), list(range(50))
    for index in range(1000):
        call = session.begin_call(Protocol.CHAT, [{"role": "user", "content": str(index)}], (), {})
        session.keep_answer(call, {"role": "assistant", "content": "x"}, packed(prompt, [7, 8]))
        prompt += [7, 8, 9]
    assert sum(len(call.prompt or b"") for call in session.calls) == ID_BYTES * (50 + 999)
    tokens = session.calls[-1].tokens
    assert tokens is not None
    assert tokens.unpacked().prompt_ids == tuple(prompt[:-3])


CONTENT = st.one_of(st.none(), st.text(max_size=5), st.just([{"type": "text", "text": "a"}]))
MESSAGE = st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from("ua"), CONTENT)


@given(st.lists(st.lists(MESSAGE, max_size=6), max_size=6))
def test_every_conversation_comes_back_and_shared_beginnings_are_kept_once(conversations: list[Any]) -> None:
    tree = MessageTree(SharedBytes())
    nodes = [tree.add_all(conversation) for conversation in conversations]
    for conversation, node in zip(conversations, nodes, strict=True):
        assert [_plain(message) for message in tree.messages(node)] == [_plain(message) for message in conversation]
        assert tree.add_all(conversation) == node


def _plain(message: Any) -> Any:
    content = message["content"]
    return message["role"], content if isinstance(content, str) else (content and content[0]["text"]) or ""


def test_what_client_libraries_change_in_an_answer_does_not_make_another_message() -> None:
    tree = MessageTree(SharedBytes())
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1, "b": 2}'}}
    respelled = {**call, "function": {"name": "f", "arguments": '{"b":2,"a":1}'}}
    other = {**call, "function": {"name": "f", "arguments": '{"a": 1, "b": 3}'}}
    raw = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
    sent_back = {"tool_calls": [{**call, "index": 0}], "role": "assistant", "content": ""}
    assert tree.add(0, raw) == tree.add(0, sent_back)
    assert tree.add(0, raw) == tree.add(0, {**sent_back, "tool_calls": [respelled]})
    assert tree.add(0, raw) != tree.add(0, {**sent_back, "tool_calls": [other]})
    assert tree.add(0, raw) != tree.add(0, {**sent_back, "content": "said"})


@given(st.lists(st.dictionaries(st.text(), st.text())), st.data())
def test_events_are_whole_however_their_bytes_arrive(values: list[Any], data: st.DataObject) -> None:
    newline = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    stream = b"".join(b"data: " + json.dumps(value).encode() + newline * 2 for value in values)
    stream = b": a comment" + newline * 2 + stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cutter, events = EventCutter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += cutter.feed(stream[start:end])
    found = [payload(event) for event in events]
    assert [json.loads(one) for one in found if one is not None] == values
    assert found[0] is None


TOOL_CALL = st.builds(
    lambda id, name, arguments: {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}},
    st.text(min_size=1),
    st.text(min_size=1),
    st.text(),
)


@given(st.text(), st.lists(TOOL_CALL, max_size=3))
def test_a_whole_answer_told_as_a_stream_adds_up_to_itself(text: str, tool_calls: list[Any]) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tool_calls:
        message["tool_calls"] = tool_calls
    reply = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    told: dict[str, Any] = {}
    for chunk in chunks_of(reply, usage=False):
        add_delta(told, chunk["choices"][0]["delta"])
    assert told == message


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)) | FINITE, st.lists))
def test_any_json_survives_the_fast_reader_and_writer(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("raw", [b"", b"{", b"nope", b"\xff", "{}".encode("utf-16"), b"[" * 100_000])
def test_what_is_no_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        loads(raw)


def test_a_session_of_five_turns_takes_less_than_thirty_kilobytes() -> None:
    """Prompts of 150 ids and 5 answers of 64, tools and tool results, as an agent with a calculator has them."""
    shared = SharedBytes()
    tracemalloc.start()
    try:
        held = [asyncio.run(_played(number, shared)) for number in range(200)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(held) < 30_000


class _NoRenderer:
    async def ready(self) -> bool:
        return False


async def _played(number: int, shared: SharedBytes) -> Session:
    session = Session(f"s{number}", Task(f"t{number}"), EpisodeKey("e", "t", "t", number), 0, {}, shared)
    tools = [{"type": "function", "function": {"name": "calculator", "description": "computes " * 20}}]
    messages: list[Any] = [
        {"role": "system", "content": "You are a helpful agent. " * 20},
        {"role": "user", "content": f"Question {number}: what is it? " * 10},
    ]
    ids = list(range(150))
    for turn in range(5):
        body = json.loads(json.dumps({"messages": messages, "tools": tools, "sampling": {"temperature": 1.0}}))
        call = session.begin_call(Protocol.CHAT, body["messages"], body["tools"], body["sampling"])
        renderer: Any = _NoRenderer()
        plans = session.conversations.plans(body["messages"], body["tools"], body["sampling"], renderer)
        (plan,) = [plan async for plan in plans]
        function = {"name": "calculator", "arguments": json.dumps({"x": f"1+{turn}"})}
        said = {
            "role": "assistant",
            "content": f"answer {turn} " * 12,
            "tool_calls": [{"id": f"call_{number}_{turn}", "type": "function", "function": function}],
        }
        tokens = PackedTokens.of(ids, [1000 + at for at in range(64)], [-0.1 * at for at in range(64)], ())
        session.keep_answer(call, said, tokens)
        session.conversations.learn(plan, said, call, "tool_calls")
        call.usage = Usage(len(ids), 64)
        ids += [1000 + at for at in range(64)] + list(range(40))
        messages += [said, {"role": "tool", "tool_call_id": f"call_{number}_{turn}", "content": "the result " * 8}]
    assert isinstance(session.conversations, Conversations)
    return session
