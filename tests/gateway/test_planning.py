"""A later turn costs no round trip more: it is asked while the server renders it, and asked again only if it must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentenv.gateway import CallStatus, Continuation, Gateway
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_calls import calls
from tests.gateway.upstream import Handler, Upstream, always, answer, chunks, streaming

FIRST = [1, 2, 3]
"""The prompt of the first turn; its answer is sampled as 7, 8."""
RENDER, DERENDER = "/v1/chat/completions/render", "/v1/chat/completions/derender"
SECOND_TURN: Any = [*MESSAGES, {"role": "assistant", "content": "four"}, {"role": "user", "content": "sure?"}]


refusing = always({"error": {"message": "a field is missing"}}, status=400)
"""What a route that exists says to an empty body."""


def rendering(ids: list[int], gate: asyncio.Event | None = None) -> Any:
    async def render(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body:
            return await refusing(upstream, request, body)
        if gate is not None:
            await gate.wait()
        return web.json_response({"token_ids": ids, "sampling_params": {"max_tokens": 100}})

    return render


async def spelling(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.Response:
    """The text of ids; 5, 6 are another spelling of 7, 8."""
    texts = {7: "fo", 8: "ur.", 5: "f", 6: "our", 9: "."}
    return web.json_response({"prompt": "".join(texts.get(token, f"<{token}>") for token in body["tokens"])})


async def reading(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Reads every answer as the same word."""
    if not body:
        return await refusing(upstream, request, body)
    return web.json_response({"choices": [{"message": {"role": "assistant", "content": "yes"}}]})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Renders, spells and reads; what it answers a test decides."""
    async with Upstream(always(answer(prompt=FIRST))) as running:
        running.routes["/detokenize"] = spelling
        running.routes[DERENDER] = reading
        running.routes[RENDER] = rendering([*FIRST, 7, 8, 4])
        yield running


DRIFTED: Any = [*MESSAGES, {"role": "assistant", "content": "four."}, {"role": "user", "content": "sure?"}]


async def drifted(upstream: Upstream, make_gateway: MakeGateway, client: Client) -> Gateway:
    """A gateway whose session `s` has had an answer that the render spells otherwise, as most have so far."""
    upstream.handler = always(answer("four.", [7, 8, 9], prompt=FIRST))
    upstream.routes[RENDER] = rendering([*FIRST, 5, 6, 9, 4])  # the same text in other ids
    gateway = await make_gateway(upstream.url)
    gateway.statistics.continuations[Continuation.REALIGNED] = 5
    await client(gateway, "s").chat.completions.create(model="m", messages=MESSAGES)
    return gateway


def completion(prompt: list[int]) -> dict[str, Any]:
    """Of the text `yes`, in vLLM's form."""
    reply = answer("yes", [9], prompt=prompt)
    del reply["choices"][0]["message"]
    reply["choices"][0] |= {"text": "yes", "logprobs": {"tokens": ["y"], "token_logprobs": [-0.5]}}
    return reply


@pytest.mark.parametrize("stream", [False, True])
async def test_an_exact_turn_is_asked_while_it_is_rendered(
    upstream: Upstream, make_gateway: MakeGateway, client: Client, stream: bool
) -> None:
    asked = asyncio.Event()
    upstream.routes[RENDER] = rendering([*FIRST, 7, 8, 4], gate=asked)  # says nothing until the turn has been asked
    gateway = await make_gateway(upstream.url)
    create = client(gateway, "s").chat.completions.create
    await create(model="m", messages=MESSAGES)

    async def second(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        asked.set()
        prompt = [*FIRST, 7, 8, 4]
        reply = (
            streaming([*chunks("y", [9], prompt=prompt), b"[DONE]"])
            if stream
            else always(answer("y", [9], prompt=prompt))
        )
        return await reply(server, request, body)

    upstream.handler = second
    got: Any = await create(model="m", messages=SECOND_TURN, stream=stream)
    if stream:
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in got]) == "y"
    record = calls(gateway)[1]
    assert (record.status, record.continuation) == (CallStatus.OK, Continuation.MERGED)
    assert upstream.paths == ["/v1/chat/completions"] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_must_be_realigned_is_asked_again_and_the_first_question_taken_back(
    upstream: Upstream, make_gateway: MakeGateway, client: Client, stream: bool
) -> None:
    gateway = await drifted(upstream, make_gateway, client)
    gateway.statistics.continuations.clear()
    create = client(gateway, "s").chat.completions.create

    async def second(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        if request.path == "/v1/chat/completions":
            await asyncio.Event().wait()  # the agent would wait for ever if this one were not given up
        reply = completion(body["prompt"])
        if not body.get("stream"):
            return web.json_response(reply)
        reply["choices"][0]["prompt_token_ids"] = reply.pop("prompt_token_ids")
        return await streaming([reply, b"[DONE]"])(server, request, body)

    upstream.handler = second
    got: Any = await create(model="m", messages=DRIFTED, stream=stream)
    if stream:
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in got if chunk.choices]) == "yes"
    else:
        assert got.choices[0].message.content == "yes"
    await asyncio.wait_for(upstream.gone.wait(), 5)
    record = calls(gateway)[1]
    assert (record.status, record.continuation) == (CallStatus.OK, Continuation.REALIGNED)
    assert record.tokens is not None
    assert record.tokens.prompt_ids == (*FIRST, 7, 8, 9, 4)
    assert sorted(upstream.paths[1:]) == ["/v1/chat/completions", "/v1/completions"]


async def test_a_turn_is_asked_with_the_sampled_tokens_while_the_proof_is_under_way(
    upstream: Upstream, make_gateway: MakeGateway, client: Client
) -> None:
    asked = asyncio.Event()

    async def spell(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        await asked.wait()  # proves nothing until the turn has been asked
        return await spelling(server, request, body)

    upstream.routes["/detokenize"] = spell
    gateway = await drifted(upstream, make_gateway, client)

    async def second(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        asked.set()
        return web.json_response(completion(body["prompt"]))

    upstream.handler = second
    got = await client(gateway, "s").chat.completions.create(model="m", messages=DRIFTED)
    assert got.choices[0].message.content == "yes"
    assert upstream.paths[1:] == ["/v1/completions"]
    assert calls(gateway)[1].continuation is Continuation.REALIGNED


async def test_a_turn_that_proves_to_be_no_continuation_is_asked_as_it_is(
    upstream: Upstream, make_gateway: MakeGateway, client: Client
) -> None:
    asked = asyncio.Event()

    async def spell(server: Upstream, request: web.Request, body: Any) -> web.Response:
        await asked.wait()
        tags = "".join(f"<{token}>" for token in body["tokens"])  # no two lists of ids say the same
        return web.json_response({"prompt": tags})

    upstream.routes["/detokenize"] = spell
    gateway = await drifted(upstream, make_gateway, client)

    async def second(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        asked.set()
        if request.path == "/v1/completions":
            return web.json_response(completion(body["prompt"]))  # comes at once, and must not be delivered
        return web.json_response(answer("no", [9], prompt=[*FIRST, 5, 6, 9, 4]))

    upstream.handler = second
    got = await client(gateway, "s").chat.completions.create(model="m", messages=DRIFTED)
    assert got.choices[0].message.content == "no"
    assert upstream.paths[1:] == ["/v1/completions", "/v1/chat/completions"]
    record = calls(gateway)[1]
    assert (record.status, record.continuation) == (CallStatus.OK, Continuation.FORKED)
    assert record.tokens is not None
    assert record.tokens.prompt_ids == (*FIRST, 5, 6, 9, 4)


async def test_where_turns_often_fork_the_proof_comes_first(
    upstream: Upstream, make_gateway: MakeGateway, client: Client
) -> None:
    proving = asyncio.Event()

    async def spell(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        assert len(server.bodies) == 1  # the second turn has not been asked
        proving.set()
        return await spelling(server, request, body)

    upstream.routes["/detokenize"] = spell
    gateway = await drifted(upstream, make_gateway, client)
    gateway.statistics.continuations[Continuation.FORKED] = 5

    async def second(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        return web.json_response(completion(body["prompt"]))

    upstream.handler = second
    await client(gateway, "s").chat.completions.create(model="m", messages=DRIFTED)
    assert proving.is_set()
    assert calls(gateway)[1].continuation is Continuation.REALIGNED


async def test_where_turns_are_often_realigned_the_render_comes_first(
    upstream: Upstream, make_gateway: MakeGateway, client: Client
) -> None:
    gateway = await make_gateway(upstream.url)
    gateway.statistics.continuations[Continuation.REALIGNED] = 5
    create = client(gateway, "s").chat.completions.create
    await create(model="m", messages=MESSAGES)
    rendered = asyncio.Event()
    answering: Handler = rendering([*FIRST, 7, 8, 4])

    async def render(server: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        assert len(server.bodies) == 1  # the second turn has not been asked
        if body:
            rendered.set()
        return await answering(server, request, body)

    upstream.routes[RENDER] = render
    await create(model="m", messages=SECOND_TURN)
    assert rendered.is_set()
    assert len(upstream.bodies) == 2
