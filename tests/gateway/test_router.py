"""Sessions stay on their replica while it lives; a dead one is noticed and its sessions move."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from agentenv.errors import ConfigError
from agentenv.gateway import CallStatus, Gateway
from agentenv.gateway.router import checked_url
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_calls import calls
from tests.gateway.test_faults import read_stream, until
from tests.gateway.upstream import Upstream, always, answer, chunks, streaming

ASKED: dict[str, Any] = {"model": "m", "messages": MESSAGES}


def held(gate: asyncio.Event, started: asyncio.Event) -> Any:
    """Answers once the gate is open."""

    async def handle(upstream: Upstream, request: web.Request, body: Any) -> web.StreamResponse:
        started.set()
        await gate.wait()
        return await always(answer())(upstream, request, body)

    return handle


async def test_a_session_stays_on_its_replica(make_gateway: MakeGateway, client: Client) -> None:
    async with Upstream(always(answer())) as one, Upstream(always(answer())) as two:
        gateway = await make_gateway(one.url, two.url)
        for session in ("a", "b", "c", "d"):
            for _ in range(3):
                await client(gateway, session).chat.completions.create(**ASKED)
        for session in ("a", "b", "c", "d"):
            assert len({record.replica for record in calls(gateway, session)}) == 1
        assert len(one.bodies) == len(two.bodies) == 6


async def test_a_new_session_goes_where_the_least_is_in_flight(make_gateway: MakeGateway, client: Client) -> None:
    gate, started = asyncio.Event(), asyncio.Event()
    async with Upstream(held(gate, started)) as busy, Upstream(always(answer())) as idle:
        gateway = await make_gateway(busy.url, idle.url)
        async with asyncio.TaskGroup() as group:
            group.create_task(client(gateway, "slow").chat.completions.create(**ASKED))
            await asyncio.wait_for(started.wait(), 5)
            for number in range(3):
                await client(gateway, f"quick-{number}").chat.completions.create(**ASKED)
            gate.set()
        assert (len(busy.bodies), len(idle.bodies)) == (1, 3)


async def test_a_replica_killed_in_the_middle_of_a_generation_loses_no_call(
    make_gateway: MakeGateway, client: Client
) -> None:
    started = asyncio.Event()
    async with Upstream(held(asyncio.Event(), started)) as dying, Upstream(always(answer("safe"))) as other:
        gateway = await make_gateway(dying.url, other.url)
        gateway.sessions.use("s").replica = gateway.router.replicas[0]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(client(gateway, "s").chat.completions.create(**ASKED))
            await asyncio.wait_for(started.wait(), 5)
            await dying.kill()
        assert asking.result().choices[0].message.content == "safe"
        await client(gateway, "s").chat.completions.create(**ASKED)
        assert len(other.bodies) == 2
        await until(lambda: not gateway.router.replicas[0].alive)
        (record, _) = calls(gateway)
        assert (record.status, record.replica) == (CallStatus.OK, other.url)
        assert "refused" in gateway.router.replicas[0].health.problem


async def test_a_stream_that_has_begun_is_not_moved(make_gateway: MakeGateway, client: Client) -> None:
    gate = asyncio.Event()
    async with (
        Upstream(streaming(chunks("abc", [7, 8, 9]), gate=gate)) as dying,
        Upstream(streaming([*chunks("abc", [7, 8, 9]), b"[DONE]"])) as other,
    ):
        gateway = await make_gateway(dying.url, other.url)
        gateway.sessions.use("s").replica = gateway.router.replicas[0]
        begun = asyncio.Event()

        async def read() -> None:
            with pytest.raises(openai.APIError, match="connection"):
                await read_stream(client(gateway, "s"), [], begun)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            await asyncio.wait_for(begun.wait(), 5)
            await dying.kill()
        assert not other.bodies
        await read_stream(client(gateway, "s"), [])
        assert len(other.bodies) == 1
    assert [record.status for record in calls(gateway)] == [CallStatus.UPSTREAM_ERROR, CallStatus.OK]


async def test_an_unhealthy_replica_is_left_alone_until_it_is_healthy_again(
    make_gateway: MakeGateway, client: Client
) -> None:
    async with Upstream(always(answer())) as one, Upstream(always(answer())) as two:
        gateway = await make_gateway(one.url, two.url)
        one.health = 503
        await until(lambda: not gateway.router.replicas[0].alive)
        for number in range(4):
            await client(gateway, str(number)).chat.completions.create(**ASKED)
        assert (len(one.bodies), len(two.bodies)) == (0, 4)
        one.health = 200
        await until(lambda: gateway.router.replicas[0].alive)
        await client(gateway, "later").chat.completions.create(**ASKED)
        assert len(one.bodies) == 1


async def test_a_server_error_is_tried_elsewhere_and_a_refusal_is_not(
    make_gateway: MakeGateway, client: Client
) -> None:
    broken = always({"error": {"message": "out of memory"}}, status=500)
    refusing = always({"error": {"message": "too long"}}, status=400)
    async with Upstream(broken) as one, Upstream(always(answer())) as two, Upstream(refusing) as three:
        gateway = await make_gateway(one.url, two.url)
        gateway.sessions.use("s").replica = gateway.router.replicas[0]
        await client(gateway, "s").chat.completions.create(**ASKED)
        assert (len(one.bodies), len(two.bodies)) == (1, 1)
        gateway = await make_gateway(three.url, two.url)
        gateway.sessions.use("s").replica = gateway.router.replicas[0]
        with pytest.raises(openai.BadRequestError, match="too long"):
            await client(gateway, "s").chat.completions.create(**ASKED)
        assert len(two.bodies) == 1


async def test_when_no_replica_is_left_the_agent_reads_one_clear_line(
    make_gateway: MakeGateway, client: Client
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(**ASKED)
    with pytest.raises(openai.InternalServerError, match=r"no model server answers .*connection refused") as caught:
        await client(gateway, "s").chat.completions.create(**ASKED)
    assert (caught.value.status_code, caught.value.code) == (503, "no_replica")
    assert [record.status for record in calls(gateway)] == [CallStatus.OK, CallStatus.UPSTREAM_ERROR]
    await _assert_health(gateway, 503)


async def test_a_replica_that_comes_back_on_its_port_is_used_again(make_gateway: MakeGateway, client: Client) -> None:
    upstream = Upstream(always(answer()))
    async with upstream:
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(**ASKED)
    await until(lambda: not gateway.router.replicas[0].alive)
    await upstream.start(upstream.port)
    try:
        await until(lambda: gateway.router.replicas[0].alive)
        await client(gateway, "s").chat.completions.create(**ASKED)
        await _assert_health(gateway, 200)
    finally:
        await upstream.stop()


async def _assert_health(gateway: Gateway, status: int) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/health") as response:
        assert response.status == status


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", "", "//host/v1"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no base URL"):
        checked_url(url)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", " http://h:1/v1/ ", "http://h:1/v1?x=1"])
def test_a_base_url_may_end_in_v1_or_not(url: str) -> None:
    assert checked_url(url) == "http://h:1"
