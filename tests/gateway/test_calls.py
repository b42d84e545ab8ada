"""What an agent gets from the gateway is what it would get from the server; what was sampled is on record."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from agentenv.gateway import CallStatus, Continuation, Gateway, ModelCallRecord, Protocol
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.upstream import Upstream, always, answer, choice, chunks, streaming
from tests.support.mock_openai import MockOpenAI, Reply, ToolCall

pytest.importorskip("torch")

from agentenv_tiny import EmbeddedServer

ROUTE = "/sessions/s/v1/chat/completions"


@pytest.fixture
async def model(policy_folder: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(policy_folder, seed=0, version=5) as server:
        yield server


def calls(gateway: Gateway, session: str = "s") -> list[ModelCallRecord]:
    """The records of a session, open or ended."""
    found = gateway.sessions.open.get(session) or gateway.sessions.ended[session].session
    return [found.record(call) for call in found.calls]


async def test_the_answer_is_the_servers_own_and_its_tokens_are_recorded(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    asked: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    direct = openai.AsyncOpenAI(base_url=model.base_url, api_key="none")
    expected = await direct.chat.completions.create(**asked, logprobs=True, extra_body={"return_token_ids": True})

    got = await client(gateway, "s").chat.completions.create(**asked)

    assert got.choices[0].message == expected.choices[0].message
    assert got.usage == expected.usage
    (record,) = calls(gateway)
    assert record.tokens is not None
    assert list(record.tokens.prompt_ids) == (expected.model_extra or {})["prompt_token_ids"]
    assert list(record.tokens.sampled_ids) == (expected.choices[0].model_extra or {})["token_ids"]
    assert [span.version for span in record.tokens.versions] == [5]
    told = expected.choices[0].logprobs
    assert list(record.tokens.logprobs) == [entry.logprob for entry in (told and told.content) or ()]
    assert (record.status, record.protocol) == (CallStatus.OK, Protocol.CHAT)
    assert record.finish_reason == expected.choices[0].finish_reason
    assert record.answer is not None
    assert record.answer["content"] == got.choices[0].message.content
    assert record.sampling == {"max_tokens": 8, "temperature": 0}


async def test_what_the_agent_did_not_ask_for_is_taken_off(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    create = client(gateway, "s").chat.completions.create
    plain = await create(model="tiny", messages=MESSAGES, max_tokens=4)
    full = await create(
        model="tiny",
        messages=MESSAGES,
        max_tokens=4,
        logprobs=True,
        extra_body={"return_token_ids": True, "return_weight_versions": True},
    )

    assert plain.choices[0].logprobs is None
    assert "prompt_token_ids" not in (plain.model_extra or {})
    assert not {"token_ids", "weight_versions"} & set(plain.choices[0].model_extra or {})
    assert full.choices[0].logprobs is not None
    assert "prompt_token_ids" in (full.model_extra or {})
    assert {"token_ids", "weight_versions"} <= set(full.choices[0].model_extra or {})
    assert all(record.tokens is not None for record in calls(gateway))


async def test_a_stream_says_the_same_as_a_whole_answer_and_is_recorded_alike(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    create = client(gateway, "s").chat.completions.create
    asked: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    whole = await create(**asked)
    pieces = [chunk async for chunk in await create(**asked, stream=True)]
    counted = [chunk async for chunk in await create(**asked, stream=True, stream_options={"include_usage": True})]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == whole.choices[0].message.content
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert not any("token_ids" in (chunk.choices[0].model_extra or {}) for chunk in pieces)
    assert all(chunk.usage is None for chunk in pieces)
    assert counted[-1].usage == whole.usage
    records = calls(gateway)
    assert [record.tokens for record in records[1:]] == [records[0].tokens] * 2
    assert [record.usage for record in records] == [records[0].usage] * 3


async def test_every_chunk_goes_out_as_it_comes(make_gateway: MakeGateway, client: Client) -> None:
    gate = asyncio.Event()
    async with Upstream(streaming([*chunks("ab", [7, 8]), b"[DONE]"], gate=gate)) as upstream:
        gateway = await make_gateway(upstream.url)
        stream = await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES, stream=True)
        seen = []
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
            if seen[-1] == "a":
                gate.set()  # the upstream waits until the agent has its first letter
        assert seen == ["", "a", "b"]
    assert calls(gateway)[0].tokens is not None


async def test_all_four_protocols_leave_records(
    model: EmbeddedServer,
    make_gateway: MakeGateway,
    client: Client,
    claude: Callable[[Gateway, str], anthropic.AsyncAnthropic],
) -> None:
    gateway = await make_gateway(model.base_url)
    agent = client(gateway, "s")
    await agent.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=3)
    await agent.completions.create(model="tiny", prompt="12 times 34", max_tokens=3)
    response = await agent.responses.create(model="tiny", input="12 times 34", max_output_tokens=3)
    message = await claude(gateway, "s").messages.create(model="tiny", messages=MESSAGES, max_tokens=3)
    async with claude(gateway, "s").messages.stream(model="tiny", messages=MESSAGES, max_tokens=3) as stream:
        streamed = await stream.get_final_message()

    assert response.usage is not None
    assert response.usage.output_tokens == message.usage.output_tokens == streamed.usage.output_tokens == 3
    records = calls(gateway)
    assert [record.protocol for record in records] == ["chat", "completions", "responses", "messages", "messages"]
    assert all(record.tokens is not None and len(record.tokens.sampled_ids) == 3 for record in records)
    assert records[2].messages == records[3].messages == MESSAGES


async def test_a_response_continues_an_earlier_one_of_its_session(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    agent = client(gateway, "s")
    first = await agent.responses.create(model="tiny", input="one", instructions="Be brief.", max_output_tokens=3)
    await agent.responses.create(model="tiny", input="two", previous_response_id=first.id, max_output_tokens=3)
    assert [message["role"] for message in calls(gateway)[1].messages] == ["user", "assistant", "user"]
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        await client(gateway, "t").responses.create(model="tiny", input="two", previous_response_id=first.id)


async def test_turns_go_on_token_for_token_even_where_the_template_spells_them_otherwise(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    create = client(gateway, "s").chat.completions.create
    conversation: list[Any] = list(MESSAGES)
    for turn in range(4):
        if turn % 2:
            stream = await create(model="tiny", messages=conversation, max_tokens=6, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        else:
            whole = await create(model="tiny", messages=conversation, max_tokens=6)
            text = whole.choices[0].message.content or ""
        conversation += [{"role": "assistant", "content": text}, {"role": "user", "content": "go on"}]

    records = calls(gateway)
    assert records[0].continuation is Continuation.OPENING
    for before, now in itertools.pairwise(records):
        assert before.tokens is not None
        assert now.tokens is not None
        exact = now.continuation in (Continuation.MERGED, Continuation.REALIGNED)
        whole_before = before.tokens.prompt_ids + before.tokens.sampled_ids
        assert exact == (now.tokens.prompt_ids[: len(whole_before)] == whole_before)
    assert Continuation.REALIGNED in [record.continuation for record in records]  # noise never spells itself again


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_are_recorded_as_they_were_said(
    make_gateway: MakeGateway, client: Client, stream: bool
) -> None:
    said = [ToolCall("calculator", '{"expression": "12*34"}', "c1"), ToolCall("calculator", "{}", "c2")]
    tools: Any = [{"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}}}]
    async with MockOpenAI([Reply("Let me see.", tuple(said)), "408"]) as server:
        gateway = await make_gateway(server.base_url)
        create = client(gateway, "s").chat.completions.create
        got: Any = await create(model="m", messages=MESSAGES, tools=tools, stream=stream)
        if stream:
            async for _ in got:
                pass
        (record,) = calls(gateway)
        assert record.answer is not None
        assert record.answer["content"] == "Let me see."
        assert [(call["id"], call["function"]["arguments"]) for call in record.answer["tool_calls"]] == [
            ("c1", '{"expression": "12*34"}'),
            ("c2", "{}"),
        ]
        assert (record.finish_reason, record.tools) == ("tool_calls", tools)
        assert record.tokens is not None

        results = [{"role": "tool", "tool_call_id": id, "content": "408"} for id in ("c1", "c2")]
        echoed = {key: record.answer[key] for key in ("role", "content", "tool_calls")}
        conversation: Any = [*MESSAGES, echoed, *results]
        await create(model="m", messages=conversation, tools=tools)
    session = gateway.sessions.open["s"]
    assert session.new_messages(session.calls[1]) == results


async def test_a_realigned_turn_streams_like_any_other(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    create = client(gateway, "s").chat.completions.create
    first = await create(model="tiny", messages=MESSAGES, max_tokens=6, seed=1)
    said = {"role": "assistant", "content": first.choices[0].message.content}
    messages: Any = [*MESSAGES, said, {"role": "user", "content": "go on"}]
    stream = await create(
        model="tiny",
        messages=messages,
        max_tokens=8,
        seed=1,
        stream=True,
        logprobs=True,
        stream_options={"include_usage": True},
    )
    pieces = [chunk async for chunk in stream]

    record = calls(gateway)[1]
    assert record.continuation is Continuation.REALIGNED
    assert record.tokens is not None
    assert {chunk.object for chunk in pieces} == {"chat.completion.chunk"}
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in pieces) > 1
    logprobs = [
        entry.logprob
        for chunk in pieces
        for choice in chunk.choices
        for entry in (choice.logprobs and choice.logprobs.content) or ()
    ]
    assert logprobs == list(record.tokens.logprobs)
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == len(record.tokens.sampled_ids)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices)
    assert (record.answer or {})["content"] == text


async def test_weights_that_the_answers_do_not_name_are_asked_for(make_gateway: MakeGateway, client: Client) -> None:
    async with Upstream(always(answer())) as upstream:
        upstream.weight_version = "4"
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
        upstream.weight_version = "5"
        async with asyncio.timeout(5):
            while gateway.router.replicas[0].version != 5:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.01)
        await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
    versions = [record.tokens.versions[0].version for record in calls(gateway) if record.tokens is not None]
    assert versions == [4, 5]


async def test_the_forced_fields_travel_upstream_and_the_rest_of_the_body_as_it_was(make_gateway: MakeGateway) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        raw = (
            b'{ "model":"m",\n "messages":[{"role":"user","content":"\\u00e9 \\ud83d\\ude00"}], "top_k": 3, "x": 1e400}'
        )
        async with http.post(gateway.url + ROUTE, data=raw) as response:
            assert response.status == 200
        sent = upstream.bodies[0]
        assert sent.pop("return_token_ids") is sent.pop("logprobs") is sent.pop("return_weight_versions") is True
        assert sent == {"model": "m", "messages": [{"role": "user", "content": "é 😀"}], "top_k": 3, "x": float("inf")}


async def test_a_field_of_ours_that_the_server_refuses_is_left_out_from_then_on(
    make_gateway: MakeGateway, client: Client
) -> None:
    async def strict(upstream: Upstream, request: Any, body: dict[str, Any]) -> Any:
        reply = (
            always({"error": {"message": "Unrecognized request argument: return_weight_versions"}}, status=400)
            if "return_weight_versions" in body
            else always(answer())
        )
        return await reply(upstream, request, body)

    async with Upstream(strict) as upstream:
        gateway = await make_gateway(upstream.url)
        for _ in range(2):
            await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
        assert ["return_weight_versions" in body for body in upstream.bodies] == [True, False, False]
    assert all(record.tokens is not None for record in calls(gateway))


async def test_several_choices_are_several_records_and_one_without_logprobs_is_named(
    make_gateway: MakeGateway, client: Client
) -> None:
    body = answer()
    body["choices"] = [choice("one", [7, 8]), choice("two", [9], 1), choice("three", [9, 9], 2)]
    body["choices"][1]["logprobs"] = None
    body["usage"]["completion_tokens"] = 5
    async with Upstream(always(body)) as upstream:
        gateway = await make_gateway(upstream.url)
        got = await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES, n=3)
    assert [one.message.content for one in got.choices] == ["one", "two", "three"]
    records = calls(gateway)
    assert [record.status for record in records] == [CallStatus.OK, CallStatus.BAD_TOKENS, CallStatus.OK]
    assert "1 sampled tokens but 0 logprobs" in records[1].error
    assert [record.tokens and record.tokens.sampled_ids for record in records] == [(7, 8), None, (9, 9)]
    assert [record.usage.completion_tokens for record in records] == [2, 0, 2]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda body: body["usage"].update(completion_tokens=9), "counts 9 completion tokens but sent 2"),
        (lambda body: body["choices"][0]["token_ids"].pop(), "counts 2 completion tokens but sent 1"),
        (lambda body: body["choices"][0]["logprobs"]["content"].pop(), "2 sampled tokens but 1 logprobs"),
        (lambda body: body.update(prompt_token_ids=None), "no prompt_token_ids"),
        (lambda body: body["choices"][0].update(token_ids=[7, -1]), "no list of token ids"),
        (lambda body: body["choices"][0].update(token_ids=[7, 1.5]), "no list of token ids"),
        (lambda body: body["choices"][0]["logprobs"]["content"][0].update(logprob=float("nan")), "not finite"),
        (lambda body: body["choices"][0]["logprobs"]["content"][0].update(logprob=None), "no number"),
        (lambda body: body["choices"][0].update(logprobs={"content": [{}, {}]}), "cannot be read"),
        (
            lambda body: body["choices"][0].update(weight_versions=[{"version": 1, "start": 1, "end": 2}]),
            "without gaps",
        ),
    ],
)
async def test_tokens_that_do_not_fit_together_are_no_record_but_the_agent_has_its_answer(
    make_gateway: MakeGateway, client: Client, spoil: Callable[[dict[str, Any]], Any], words: str
) -> None:
    body = answer()
    spoil(body)
    async with Upstream(always(body)) as upstream:
        gateway = await make_gateway(upstream.url)
        got = await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
    assert got.choices[0].message.content == "four"
    (record,) = calls(gateway)
    assert (record.status, record.tokens) == (CallStatus.BAD_TOKENS, None)
    assert words in record.error


async def test_a_server_without_token_ids_is_recorded_without_them(make_gateway: MakeGateway, client: Client) -> None:
    body = answer()
    del body["prompt_token_ids"], body["choices"][0]["token_ids"]
    async with Upstream(always(body)) as upstream:
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
    (record,) = calls(gateway)
    assert (record.status, record.tokens) == (CallStatus.OK, None)


async def test_a_streams_wrong_count_is_noticed_at_its_end(make_gateway: MakeGateway, client: Client) -> None:
    pieces = chunks("ab", [7, 8])
    pieces[-1]["usage"]["completion_tokens"] = 3
    async with Upstream(streaming([*pieces, b"[DONE]"])) as upstream:
        gateway = await make_gateway(upstream.url)
        async for _ in await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES, stream=True):
            pass
    (record,) = calls(gateway)
    assert (record.status, record.tokens) == (CallStatus.BAD_TOKENS, None)


async def test_two_clients_on_one_session_are_recorded_side_by_side(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    agents = [client(gateway, "s"), client(gateway, "s")]

    async def ask(number: int) -> tuple[str, str | None]:
        text = f"question {number}"
        messages: Any = [{"role": "user", "content": text}]
        got = await agents[number % 2].chat.completions.create(model="tiny", messages=messages, max_tokens=5)
        return text, got.choices[0].message.content

    said = dict(await asyncio.gather(*map(ask, range(16))))
    records = calls(gateway)
    assert {record.messages[0]["content"]: (record.answer or {})["content"] for record in records} == said
    assert [record.index for record in records] == list(range(16))
    assert all(record.tokens is not None and record.continuation is Continuation.OPENING for record in records)


async def test_a_call_without_a_session_is_one_by_itself_and_can_be_read_back(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    create = client(gateway).chat.completions.with_raw_response.create
    responses = [await create(model="tiny", messages=MESSAGES, max_tokens=3) for _ in range(2)]
    ids = [response.headers["X-Session-Id"] for response in responses]
    assert len(set(ids)) == 2
    assert not gateway.sessions.open
    assert [len(calls(gateway, id)) for id in ids] == [1, 1]


async def test_a_header_names_the_session_too(model: EmbeddedServer, make_gateway: MakeGateway, client: Client) -> None:
    gateway = await make_gateway(model.base_url)
    agent = client(gateway, default_headers={"X-Session-Id": "s"})
    for _ in range(2):
        await agent.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=3)
    assert len(calls(gateway)) == 2


async def test_the_models_are_those_of_the_server(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url)
    assert [one.id async for one in client(gateway, "s").models.list()] == ["tiny"]


async def test_an_agents_hard_coded_model_name_can_be_replaced(
    model: EmbeddedServer, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(model.base_url, model="tiny")
    conversation: list[Any] = list(MESSAGES)
    for _ in range(2):
        got = await client(gateway, "s").chat.completions.create(model="gpt-9", messages=conversation, max_tokens=3)
        content = got.choices[0].message.content
        conversation += [{"role": "assistant", "content": content}, {"role": "user", "content": "go on"}]
    assert [record.model for record in calls(gateway)] == ["tiny", "tiny"]
