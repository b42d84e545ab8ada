"""The mock server says what vLLM would say, and fails exactly as it is told."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mock_openai import ChatRequest, Fault, FaultRule, MockOpenAI, Reply, ToolCall, detokenise
from tests.support.mock_openai.wire import END_TOKEN, complete, prompt_token_ids

ADD: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = Reply(tool_calls=(ToolCall("add", '{"a": 1, "b": 2}'),))


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def post(server: MockOpenAI, session: str = "s", **body: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
    """One raw call: status, parsed body (None if it is no JSON), response."""
    body = {"model": "mock", "messages": [user("hello")]} | body
    async with (
        aiohttp.ClientSession(headers={"X-Session-Id": session}) as client,
        client.post(f"{server.base_url}/chat/completions", json=body) as response,
    ):
        text = await response.text()
        try:
            return response.status, json.loads(text), response
        except ValueError:
            return response.status, None, response


def openai_client(server: MockOpenAI) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=5.0)


async def test_a_list_script_answers_every_session_from_its_own_start() -> None:
    async with MockOpenAI(["one", "two"]) as server:
        said = {}
        for session in ("a", "b"):
            for turn in range(2):
                _, body, _ = await post(server, session)
                said[session, turn] = body["choices"][0]["message"]["content"]
    assert said == {("a", 0): "one", ("a", 1): "two", ("b", 0): "one", ("b", 1): "two"}


async def test_a_list_script_that_runs_out_is_a_bad_request_that_says_so() -> None:
    async with MockOpenAI(["one"]) as server:
        await post(server)
        status, body, _ = await post(server)
    assert status == 400
    assert "1 replies" in body["error"]["message"]


async def test_the_openai_client_reads_content_tool_calls_usage_and_logprobs() -> None:
    asked: Any = {"model": "mock", "messages": [user("1+2?")]}
    async with MockOpenAI([CALL, "3"]) as server, openai_client(server) as client:
        first = (await client.chat.completions.create(**asked, tools=[ADD])).model_dump()
        second = (await client.chat.completions.create(**asked, logprobs=True)).model_dump()
    (call,) = first["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("add", {"a": 1, "b": 2})
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    assert second["choices"][0]["message"]["content"] == "3"
    assert second["usage"]["completion_tokens"] == 2  # the byte "3" and the end token
    entries = second["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in entries] == ["3", "<|end|>"]
    assert all(entry["logprob"] < 0 for entry in entries)


@pytest.mark.parametrize("reply", [Reply("naïve ✓ answer, rather long"), CALL, Reply("Let me see.", CALL.tool_calls)])
async def test_a_streamed_answer_adds_up_to_the_whole_one(reply: Reply) -> None:
    asked: Any = {"model": "mock", "messages": [user("go")], "tools": [ADD], "logprobs": True}
    asked["extra_body"] = {"return_token_ids": True}
    async with MockOpenAI(lambda _: reply) as server, openai_client(server) as client:
        whole = (await client.chat.completions.create(**asked)).model_dump()
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        chunks = [chunk.model_dump() async for chunk in stream]
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    pieces = [piece for choice in choices for piece in choice["delta"].get("tool_calls") or ()]
    arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    ids = [token for choice in choices for token in choice.get("token_ids") or ()]
    logprobs = [entry["logprob"] for choice in choices if choice["logprobs"] for entry in choice["logprobs"]["content"]]

    expected = whole["choices"][0]
    assert content == (expected["message"]["content"] or "")
    assert arguments == "".join(call["function"]["arguments"] for call in expected["message"]["tool_calls"] or ())
    assert ids == expected["token_ids"]
    assert logprobs == [entry["logprob"] for entry in expected["logprobs"]["content"]]
    assert choices[-1]["finish_reason"] == expected["finish_reason"]
    assert chunks[-1]["usage"] == whole["usage"] | chunks[-1]["usage"]
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    assert not any(chunk.get("prompt_token_ids") for chunk in chunks[1:])


async def test_token_ids_are_given_only_when_asked_for_and_spell_the_conversation() -> None:
    async with MockOpenAI(["hi"]) as server:
        _, without, _ = await post(server, "a")
        _, with_ids, _ = await post(server, "b", return_token_ids=True)
    assert "prompt_token_ids" not in without
    assert detokenise(with_ids["prompt_token_ids"]) == "<|user|>hello<|end|><|assistant|>"
    assert detokenise(with_ids["choices"][0]["token_ids"]) == "hi<|end|>"


@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4), tools=st.booleans())
def test_each_prompt_starts_with_the_prompt_and_the_sampled_tokens_of_the_turn_before(
    texts: list[str], tools: bool
) -> None:
    messages: list[dict[str, Any]] = [user("start")]
    before: list[int] = []
    for text in texts:
        body = {"messages": messages} | ({"tools": [ADD]} if tools else {})
        request = ChatRequest(body, {}, "s", 0, 0, 0)
        prompt = prompt_token_ids(request)
        assert prompt[: len(before)] == before
        completion = complete(Reply(text, CALL.tool_calls if tools else ()), request)
        before = prompt + completion.token_ids
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in completion.tool_calls
        ]
        messages = [*messages, {"role": "assistant", "content": text, "tool_calls": calls}, user("next")]


async def test_max_tokens_cuts_the_answer_and_says_length() -> None:
    async with MockOpenAI(["abcdef"]) as server:
        _, body, _ = await post(server, max_tokens=3, return_token_ids=True, logprobs=True)
    choice = body["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("abc", "length")
    assert len(choice["token_ids"]) == len(choice["logprobs"]["content"]) == body["usage"]["completion_tokens"] == 3
    assert END_TOKEN not in choice["token_ids"]


@pytest.mark.parametrize(
    "body", [{"messages": []}, {"messages": "hello"}, {"messages": [{"role": "nobody"}]}, {"n": 2}]
)
async def test_a_body_that_is_no_chat_request_is_refused(body: dict[str, Any]) -> None:
    async with MockOpenAI(["never"]) as server:
        status, _, _ = await post(server, **body)
    assert status == 400
    assert server.stats.answered == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.RATE_LIMITED, 429),
        (Fault.RATE_LIMITED_RETRY_AFTER, 429),
        (Fault.SERVER_ERROR, 500),
        (Fault.BAD_REQUEST, 400),
        (Fault.UNAUTHORISED, 401),
    ],
)
async def test_http_errors_do_not_use_up_the_script(fault: Fault, status: int) -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(fault, first_calls=1, retry_after=3)]) as server:
        failed, body, response = await post(server)
        _, answered, _ = await post(server)
    assert (failed, body["error"]["code"] is not None) == (status, True)
    assert response.headers.get("Retry-After") == ("3" if fault is Fault.RATE_LIMITED_RETRY_AFTER else None)
    assert answered["choices"][0]["message"]["content"] == "answer"
    assert server.stats.faults == {fault: 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [Fault.CONNECTION_CUT, Fault.STREAM_CUT])
async def test_a_cut_connection_is_seen_by_the_client_as_one(fault: Fault, stream: bool) -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(fault)]) as server:
        with pytest.raises(aiohttp.ClientError):
            await post(server, stream=stream)
    assert server.stats.in_flight == 0


async def test_a_stream_cut_gives_the_same_turn_again_to_the_retry() -> None:
    async with MockOpenAI(["one", "two"], faults=[FaultRule(Fault.STREAM_CUT, first_calls=1)]) as server:
        with pytest.raises(aiohttp.ClientError):
            await post(server)
        _, body, _ = await post(server)
    assert body["choices"][0]["message"]["content"] == "one"


async def test_malformed_json_is_served_as_json() -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(Fault.MALFORMED_JSON)]) as server:
        status, body, response = await post(server)
    assert (status, body, response.content_type) == (200, None, "application/json")


async def test_a_malformed_event_lies_between_well_formed_ones() -> None:
    async with (
        MockOpenAI(["a long enough answer"], faults=[FaultRule(Fault.MALFORMED_JSON)]) as server,
        openai_client(server) as client,
    ):
        asked: Any = {"model": "mock", "messages": [user("go")], "stream": True}
        stream = await client.chat.completions.create(**asked)
        with pytest.raises(ValueError, match=r"JSON|delimiter|string|Expecting"):
            [chunk async for chunk in stream]


async def test_malformed_tool_arguments_are_no_json_with_or_without_a_scripted_call() -> None:
    rules = [FaultRule(Fault.MALFORMED_TOOL_ARGUMENTS)]
    async with MockOpenAI([CALL, "no call"], faults=rules) as server:
        bodies = [(await post(server, tools=[ADD]))[1] for _ in range(2)]
    for body in bodies:
        (call,) = body["choices"][0]["message"]["tool_calls"]
        with pytest.raises(json.JSONDecodeError):
            json.loads(call["function"]["arguments"])


async def test_a_fault_that_cannot_happen_is_not_counted() -> None:
    async with MockOpenAI(["text"], faults=[FaultRule(Fault.MALFORMED_TOOL_ARGUMENTS)]) as server:
        _, body, _ = await post(server)
    assert body["choices"][0]["message"]["content"] == "text"
    assert not server.stats.faults


@pytest.mark.parametrize(
    ("fault", "ids_missing"), [(Fault.FEWER_LOGPROBS_THAN_TOKENS, 1), (Fault.FEWER_LOGPROBS_THAN_IDS, 0)]
)
async def test_missing_logprobs_are_missing_against_usage_or_against_ids(fault: Fault, ids_missing: int) -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(fault)]) as server:
        _, body, _ = await post(server, return_token_ids=True, logprobs=True)
    choice, tokens = body["choices"][0], body["usage"]["completion_tokens"]
    assert len(choice["logprobs"]["content"]) == tokens - 1
    assert len(choice["token_ids"]) == tokens - ids_missing


async def test_a_request_that_is_never_answered_leaves_when_its_client_does() -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(Fault.NEVER_ANSWERS, first_calls=1)]) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post(server)
        _, body, _ = await post(server)
    assert body["choices"][0]["message"]["content"] == "answer"
    assert server.stats.in_flight == 0


async def test_closing_the_server_cuts_requests_that_were_never_answered() -> None:
    arrived = asyncio.Event()

    def note(_: ChatRequest) -> bool:
        arrived.set()
        return True

    async with MockOpenAI(["answer"], faults=[FaultRule(Fault.NEVER_ANSWERS, when=note)]) as server:
        held = asyncio.create_task(post(server))
        await arrived.wait()
    with pytest.raises(aiohttp.ClientError):
        await held


async def test_the_wrong_content_type_is_an_html_page_with_status_200() -> None:
    async with MockOpenAI(["answer"], faults=[FaultRule(Fault.WRONG_CONTENT_TYPE)]) as server:
        status, body, response = await post(server)
    assert (status, body, response.content_type) == (200, None, "text/html")


async def test_rules_by_predicate_and_by_arrival_choose_their_requests() -> None:
    rules = [
        FaultRule(Fault.SERVER_ERROR, first_requests=1),
        FaultRule(Fault.BAD_REQUEST, when=lambda request: request.session == "unlucky"),
    ]
    async with MockOpenAI(lambda _: "fine", faults=rules) as server:
        statuses = [(await post(server, session))[0] for session in ("a", "a", "unlucky", "b", "unlucky")]
    assert statuses == [500, 200, 400, 200, 400]


async def test_the_same_seed_fails_the_same_requests() -> None:
    async def statuses(seed: int) -> list[int]:
        rules = [FaultRule(Fault.SERVER_ERROR, probability=0.5)]
        async with MockOpenAI(lambda _: "fine", faults=rules, seed=seed) as server:
            return [(await post(server))[0] for _ in range(20)]

    first = await statuses(1)
    assert first == await statuses(1)
    assert set(first) == {200, 500}


async def test_the_server_counts_calls_turns_sessions_and_the_most_in_flight() -> None:
    arrived = 0
    everyone_is_here = asyncio.Event()

    async def wait_for_all(request: ChatRequest) -> str:
        nonlocal arrived
        arrived += 1
        if arrived == 5:
            everyone_is_here.set()
        await everyone_is_here.wait()
        return "done"

    async with MockOpenAI(wait_for_all) as server:
        await asyncio.gather(*(post(server, f"s{index % 2}") for index in range(5)))
        stats = server.stats
        assert (stats.requests, stats.answered, stats.in_flight, stats.in_flight_maximum) == (5, 5, 0, 5)
        assert stats.calls_by_session == {"s0": 3, "s1": 2}
        assert [request.session for request in server.requests].count("s0") == 3


async def test_latency_is_slept_before_the_answer() -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    async with MockOpenAI(["a", Reply("b", latency=7.0), "c"], latency=lambda rng: 5.0, sleep=note) as server:
        for _ in range(3):
            await post(server)
    assert slept == [5.0, 7.0, 5.0]


async def test_the_process_announces_its_url_serves_and_stops_when_told() -> None:
    arguments = ["-m", "tests.support.mock_openai", "--fault", "rate_limited=1.0"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            assert process.stdout is not None
            base_url = json.loads(await process.stdout.readline())["base_url"]
            body = {"model": "mock", "messages": [user("hello")]}
            async with client.post(f"{base_url}/chat/completions", json=body) as response:
                assert response.status == 429
            async with client.get(base_url.removesuffix("/v1") + "/stats") as response:
                assert (await response.json())["faults"] == {"rate_limited": 1}
    finally:
        process.terminate()
        assert await process.wait() == 0
