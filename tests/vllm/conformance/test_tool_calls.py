"""Tool calls in chat answers, whole, streamed and derendered, read out of what a scripted model says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.conformance.cases import ASKED, CHAT, DERENDER, GOOD_CALL, MODEL, TOOLS, USER
from tests.vllm.conformance.client import Client, Json
from tests.vllm.conformance.conftest import Server
from tests.vllm.conformance.sampling import reload
from tests.vllm.conformance.scripted import make_scripted

ASK: Json = {"model": MODEL, "messages": USER, "temperature": 0, "max_tokens": 60, "return_token_ids": True}
NAMED = ["<tool_call>", '{"', "name", '": "', "g", '", "', "arguments"]
CALL = [*NAMED, '": {"', "x", '":', '"', "12", '"}}', "</tool_call>"]
"""`<tool_call>{"name": "g", "arguments": {"x":"12"}}</tool_call>`, no token twice."""
SO = ["S", "o", " "]


async def scripted(server: Server, tmp_path: Path, pieces: list[str]) -> list[int]:
    """Let the server say these tokens; returns their ids."""
    answer = make_scripted(server.folder, tmp_path / "scripted", pieces)
    await reload(server.client, tmp_path / "scripted")
    await server.client.post("/reset_prefix_cache")
    return answer


async def test_a_call_is_read_out_of_the_text(server: Server, tmp_path: Path) -> None:
    answer = await scripted(server, tmp_path, [*SO, *CALL])
    choice = (await server.client.post(CHAT, {**ASK, "tools": TOOLS})).body["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "g", "arguments": '{"x": "12"}'})
    assert call["id"].startswith("chatcmpl-tool-")
    assert choice["message"]["content"] == "So "
    assert (choice["finish_reason"], choice["token_ids"]) == ("tool_calls", answer)


async def test_without_tools_in_the_request_the_text_stays_text(server: Server, tmp_path: Path) -> None:
    await scripted(server, tmp_path, CALL)
    for fields in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        choice = (await server.client.post(CHAT, {**ASK, **fields})).body["choices"][0]
        assert choice["message"]["content"] == "".join(CALL)
        assert "tool_calls" not in choice["message"]
        assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("limit", [5, 11])
async def test_a_call_cut_short_comes_back_as_text(server: Server, tmp_path: Path, limit: int) -> None:
    await scripted(server, tmp_path, CALL)
    choice = (await server.client.post(CHAT, {**ASK, "tools": TOOLS, "max_tokens": limit})).body["choices"][0]
    assert choice["message"]["content"] == "".join(CALL[:limit])
    assert choice["finish_reason"] == "length"


async def test_arguments_that_only_python_takes_for_json_are_passed_on(server: Server, tmp_path: Path) -> None:
    await scripted(server, tmp_path, [*NAMED, '":', " ", "I", "n", "f", "in", "i", "t", "y", "}", "</tool_call>"])
    choice = (await server.client.post(CHAT, {**ASK, "tools": TOOLS})).body["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == "Infinity"
    assert choice["message"]["content"] is None


async def test_a_streamed_call_comes_as_its_name_and_then_its_arguments_piece_by_piece(
    server: Server, tmp_path: Path
) -> None:
    answer = await scripted(server, tmp_path, [*SO, *CALL])
    events = (await server.client.post(CHAT, {**ASK, "tools": TOOLS, "stream": True})).body
    choices = [event["choices"][0] for event in events[:-1]]
    assert [token for choice in choices for token in choice.get("token_ids") or ()] == answer
    pieces = [piece for choice in choices for piece in choice["delta"].get("tool_calls", ())]
    assert pieces[0].keys() == {"id", "type", "index", "function"}
    assert pieces[0]["function"]["name"] == "g"
    assert all(piece.keys() == {"index", "function"} for piece in pieces[1:])
    assert "".join(piece["function"].get("arguments", "") for piece in pieces) == '{"x":"12"}', "as sampled"
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "So "
    assert (choices[-1]["finish_reason"], choices[-1]["stop_reason"]) == ("tool_calls", None)


async def test_a_call_is_derendered_one_token_at_a_time(server: Server) -> None:
    deltas = await derendered(server.client, [46, *GOOD_CALL, 1])
    assert deltas[0] == {"role": "assistant", "content": "I", "reasoning": None}
    calls = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    assert calls[0]["function"] == {"name": "add", "arguments": None}
    assert all((piece["id"], piece["type"], piece["function"]["name"]) == (None, None, None) for piece in calls[1:])
    assert json.loads("".join(piece["function"]["arguments"] or "" for piece in calls)) == {"a": 12, "b": "x"}
    assert deltas[-1] == {"role": None, "content": None, "reasoning": None}


async def derendered(client: Client, token_ids: Sequence[int]) -> list[Any]:
    """The deltas of each token by itself."""
    state, deltas = None, []
    for position, token_id in enumerate(token_ids, start=1):
        reason = "stop" if position == len(token_ids) else None
        chunk = {"request_id": "r", "choices": [{"index": 0, "token_ids": [token_id], "finish_reason": reason}]}
        body = {"stream": True, "generate_chunk": chunk, "stream_state": state, "chat_request": ASKED}
        reply = (await client.post(DERENDER, {**body, "prompt_token_ids": [3, 1, 4]})).body
        state = reply["stream_state"]
        deltas.append(reply["chunk"]["choices"][0]["delta"])
    assert reply["chunk"]["choices"][0]["finish_reason"] == "tool_calls"
    return deltas
