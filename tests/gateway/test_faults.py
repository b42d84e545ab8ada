"""Every way an upstream can fail gives the agent's library the error it expects, and the record an honest status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web

from agentenv.gateway import CallStatus, Gateway
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_calls import calls
from tests.gateway.upstream import Upstream, always, answer, chunks, sse, streaming
from tests.support.mock_openai import Fault, FaultRule, MockOpenAI

Claude = Callable[[Gateway, str], anthropic.AsyncAnthropic]
ASKED: dict[str, Any] = {"model": "m", "messages": MESSAGES}


def refused(message: str, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "upstream_words", "param": "messages", "code": code}}


@pytest.mark.parametrize(
    ("status", "expected", "recorded"),
    [
        (400, openai.BadRequestError, CallStatus.REFUSED),
        (401, openai.AuthenticationError, CallStatus.REFUSED),
        (404, openai.NotFoundError, CallStatus.REFUSED),
        (422, openai.UnprocessableEntityError, CallStatus.REFUSED),
        (429, openai.RateLimitError, CallStatus.REFUSED),
        (500, openai.InternalServerError, CallStatus.UPSTREAM_ERROR),
        (503, openai.InternalServerError, CallStatus.UPSTREAM_ERROR),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_http_error_is_passed_on_with_the_servers_words(
    make_gateway: MakeGateway,
    client: Client,
    status: int,
    expected: type[openai.APIStatusError],
    recorded: CallStatus,
    stream: bool,
) -> None:
    async with Upstream(always(refused("no, because"), status=status)) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(expected, match="no, because") as caught:
            await client(gateway, "s").chat.completions.create(**ASKED, stream=stream)
    assert (caught.value.status_code, caught.value.type, caught.value.param) == (status, "upstream_words", "messages")
    (record,) = calls(gateway)
    assert (record.status, record.error, record.answer) == (recorded, "no, because", None)


async def test_the_other_protocols_get_the_error_in_their_own_shape(
    make_gateway: MakeGateway, client: Client, claude: Claude
) -> None:
    async with Upstream(always(refused("no such model"), status=404)) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(anthropic.NotFoundError, match="no such model") as caught:
            await claude(gateway, "s").messages.create(**ASKED, max_tokens=3)
        assert caught.value.body == {
            "type": "error",
            "error": {"type": "not_found_error", "message": "no such model"},
        }
        with pytest.raises(openai.NotFoundError, match="no such model"):
            await client(gateway, "s").responses.create(model="m", input="hello")
        with pytest.raises(openai.NotFoundError, match="no such model"):
            await client(gateway, "s").completions.create(model="m", prompt="hello")


async def test_a_rate_limit_says_when_to_come_back(make_gateway: MakeGateway, client: Client) -> None:
    async def limited(upstream: Upstream, request: web.Request, body: Any) -> web.Response:
        return web.json_response(refused("slow down"), status=429, headers={"Retry-After": "7"})

    async with Upstream(limited) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(openai.RateLimitError) as caught:
            await client(gateway, "s").chat.completions.create(**ASKED)
    assert caught.value.response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "body",
    [b"<html>a proxy's page</html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": 3}', b""],
)
async def test_an_answer_that_is_none_is_a_bad_gateway(make_gateway: MakeGateway, client: Client, body: bytes) -> None:
    async with Upstream(always(body)) as upstream:
        gateway = await make_gateway(upstream.url)
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as caught:
                await client(gateway, "s").chat.completions.create(**ASKED, stream=stream)
            assert (caught.value.status_code, caught.value.code) == (502, "bad_upstream_answer")
    assert {record.status for record in calls(gateway)} == {CallStatus.UPSTREAM_ERROR}


async def test_silence_is_a_timeout(make_gateway: MakeGateway, client: Client) -> None:
    async def silent(upstream: Upstream, request: web.Request, body: Any) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Upstream(silent) as upstream:
        gateway = await make_gateway(upstream.url, request_seconds=0.2, idle_seconds=0.2)
        for stream in (False, True):
            upstream.gone.clear()
            with pytest.raises(openai.InternalServerError) as caught:
                await client(gateway, "s").chat.completions.create(**ASKED, stream=stream)
            assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
            await asyncio.wait_for(upstream.gone.wait(), 5)
    assert [record.status for record in calls(gateway)] == [CallStatus.UPSTREAM_TIMEOUT] * 2


@pytest.mark.parametrize("fault", [Fault.CONNECTION_CUT, Fault.STREAM_CUT])
async def test_a_connection_cut_once_is_tried_again(make_gateway: MakeGateway, client: Client, fault: Fault) -> None:
    async with MockOpenAI(lambda _: "the answer", faults=[FaultRule(fault, first_requests=1)]) as server:
        gateway = await make_gateway(server.base_url)
        got = await client(gateway, "s").chat.completions.create(**ASKED)
        assert got.choices[0].message.content == "the answer"
        assert server.stats.requests == 2
    (record,) = calls(gateway)
    assert record.status is CallStatus.OK
    assert gateway.statistics.moved == 1


@pytest.mark.parametrize("fault", [Fault.CONNECTION_CUT, Fault.STREAM_CUT])
async def test_a_connection_cut_again_is_an_error(make_gateway: MakeGateway, client: Client, fault: Fault) -> None:
    async with MockOpenAI(lambda _: "the answer", faults=[FaultRule(fault)]) as server:
        gateway = await make_gateway(server.base_url)
        with pytest.raises(openai.InternalServerError) as caught:
            await client(gateway, "s").chat.completions.create(**ASKED)
        assert caught.value.status_code == 502
        assert server.stats.requests == 2
    (record,) = calls(gateway)
    assert record.status is CallStatus.UPSTREAM_ERROR


async def test_a_stream_that_breaks_off_raises_in_the_agent_and_is_not_repeated(
    make_gateway: MakeGateway, client: Client, claude: Claude
) -> None:
    async with Upstream(streaming(chunks("abc", [7, 8, 9])[:3], cut=True)) as upstream:
        gateway = await make_gateway(upstream.url)
        seen: list[str | None] = []
        with pytest.raises(openai.APIError, match="connection"):
            await read_stream(client(gateway, "s"), seen)
        assert seen == ["", "a", "b"]
        with pytest.raises(anthropic.APIStatusError, match="connection"):
            async with claude(gateway, "s").messages.stream(**ASKED, max_tokens=9) as stream:
                await stream.get_final_message()
        with pytest.raises(openai.APIError, match="connection"):
            async for _ in await client(gateway, "s").responses.create(model="m", input="hello", stream=True):
                pass
        assert len(upstream.bodies) == 3
    for record in calls(gateway):
        assert record.status is CallStatus.UPSTREAM_ERROR
        assert record.answer is not None
        assert record.answer["content"] == "ab"
        assert record.tokens is not None
        assert record.tokens.sampled_ids == (7, 8)


async def test_a_stream_that_ends_early_without_a_word_is_an_error_too(
    make_gateway: MakeGateway, client: Client
) -> None:
    async with Upstream(streaming([*chunks("abc", [7, 8, 9])[:3], b"[DONE]"])) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(openai.APIError, match="in the middle"):
            await read_stream(client(gateway, "s"), seen=[])
    assert calls(gateway)[0].status is CallStatus.UPSTREAM_ERROR


async def test_an_error_within_a_stream_reaches_the_agent(make_gateway: MakeGateway, client: Client) -> None:
    events = [*chunks("abc", [7, 8, 9])[:2], {"error": {"message": "the engine died", "code": 500}}, b"[DONE]"]
    async with Upstream(streaming(events)) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(openai.APIError, match="the engine died"):
            await read_stream(client(gateway, "s"), seen=[])
    assert calls(gateway)[0].status is CallStatus.UPSTREAM_ERROR


async def test_a_silent_stream_is_given_up(make_gateway: MakeGateway, client: Client) -> None:
    async with Upstream(streaming(chunks("abc", [7, 8, 9]), gate=asyncio.Event())) as upstream:
        gateway = await make_gateway(upstream.url, idle_seconds=0.2)
        with pytest.raises(openai.APIError, match="in time"):
            await read_stream(client(gateway, "s"), seen=[])
        await asyncio.wait_for(upstream.gone.wait(), 5)
    assert calls(gateway)[0].status is CallStatus.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agent_that_leaves_aborts_its_generation(
    make_gateway: MakeGateway, client: Client, stream: bool
) -> None:
    started = asyncio.Event()

    async def endless(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if stream:
            await response.prepare(request)
            for chunk in chunks("abc", [7, 8, 9])[:2]:
                await response.write(sse(chunk))
        started.set()
        await asyncio.Event().wait()
        return response

    async with Upstream(endless) as upstream:
        gateway = await make_gateway(upstream.url)
        asking = asyncio.create_task(_consume(client(gateway, "s"), stream))
        await asyncio.wait_for(started.wait(), 5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(upstream.gone.wait(), 5)
        await until(lambda: gateway.statistics.calls[CallStatus.CLIENT_GONE] == 1)
    assert calls(gateway)[0].status is CallStatus.CLIENT_GONE
    assert gateway.router.replicas[0].in_flight == 0


async def _consume(agent: openai.AsyncOpenAI, stream: bool) -> None:
    if stream:
        await read_stream(agent, [])
    else:
        await agent.chat.completions.create(**ASKED)


async def read_stream(agent: openai.AsyncOpenAI, seen: list[str | None], gate: asyncio.Event | None = None) -> None:
    """Collects what a stream says, and opens the gate once it has begun."""
    async for chunk in await agent.chat.completions.create(**ASKED, stream=True):
        seen += [choice.delta.content for choice in chunk.choices]
        if gate is not None:
            gate.set()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something another task will bring about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


async def test_a_generation_given_up_for_new_weights_is_asked_for_again(
    make_gateway: MakeGateway, client: Client
) -> None:
    aborted = answer("fo", [7])
    aborted["choices"][0]["finish_reason"] = "abort"
    async with Upstream(always(aborted, answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        got = await client(gateway, "s").chat.completions.create(**ASKED)
    assert got.choices[0].message.content == "four"
    records = calls(gateway)
    assert [record.status for record in records] == [CallStatus.OK, CallStatus.ABORTED]
    assert [record.tokens and record.tokens.sampled_ids for record in records] == [(7, 8), (7,)]


async def test_a_stream_given_up_in_the_middle_raises_and_says_so(make_gateway: MakeGateway, client: Client) -> None:
    pieces = chunks("ab", [7, 8])
    pieces[2]["choices"][0]["finish_reason"] = "abort"
    gate = asyncio.Event()
    async with Upstream(streaming([*pieces, b"[DONE]"], gate=gate)) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(openai.APIError, match="gave the generation up") as caught:
            await read_stream(client(gateway, "s"), seen=[], gate=gate)
    assert caught.value.code == "generation_aborted"
    (record,) = calls(gateway)
    assert record.status is CallStatus.ABORTED
    assert record.tokens is not None
    assert record.tokens.sampled_ids == (7, 8)


async def test_a_server_that_is_paused_is_waited_for(make_gateway: MakeGateway, client: Client) -> None:
    left = 3

    async def paused(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        nonlocal left
        left -= 1
        if left:
            return web.json_response(refused("paused"), status=503)
        return await always(answer())(upstream, request, body)

    async with Upstream(paused) as upstream:
        gateway = await make_gateway(upstream.url, pause_seconds=10.0)
        got = await client(gateway, "s").chat.completions.create(**ASKED)
    assert got.choices[0].message.content == "four"
    assert [record.status for record in calls(gateway)] == [CallStatus.OK]
