"""Pausing, aborting and sleeping, as vLLM 0.32 does them."""

from __future__ import annotations

import asyncio

import pytest

from tests.vllm.conformance.cases import COMPLETIONS
from tests.vllm.conformance.client import Json
from tests.vllm.conformance.conftest import Server
from tests.vllm.conformance.flights import LONG, MANY, MOMENT, SHORT, Flight, caught, is_waiting

MODES = ["abort", "wait", "keep"]


async def test_pausing_with_abort_answers_what_is_in_flight_with_its_tokens_so_far(server: Server) -> None:
    client = server.client

    async def abort() -> tuple[int, Json, Json] | None:
        whole = asyncio.create_task(client.post(COMPLETIONS, LONG))
        async with Flight(client) as stream:
            assert (await client.post("/pause?mode=abort")).body == {"status": "paused"}
            last, reply = await stream.last_choice(), await whole
        await client.post("/resume")
        choice = reply.body["choices"][0]
        assert (reply.status, reply.body["usage"]["completion_tokens"]) == (200, len(choice["token_ids"]))
        assert len(choice["token_ids"]) == len(choice["logprobs"]["tokens"])
        cut = stream.was_cut(last) and len(choice["token_ids"]) < MANY
        return (len(stream.token_ids), last, choice) if cut else None

    streamed, last, choice = await caught(abort)
    assert streamed > 0
    assert (last["finish_reason"], last["stop_reason"]) == ("abort", None)
    assert (choice["finish_reason"], choice["stop_reason"]) == ("abort", None)


async def test_pausing_with_wait_returns_when_what_is_in_flight_has_finished(server: Server) -> None:
    async with Flight(server.client) as flight:
        await server.client.post("/pause?mode=wait")
        last = await flight.last_choice()
    assert (last["finish_reason"], len(flight.token_ids)) == ("length", MANY)
    assert (await server.client.get("/is_paused")).body == {"is_paused": True}
    await server.client.post("/resume")


async def test_pausing_with_keep_freezes_what_is_in_flight_and_resuming_changes_nothing_of_it(server: Server) -> None:
    client = server.client
    undisturbed = (await client.post(COMPLETIONS, LONG)).body["choices"][0]["token_ids"]

    async def freeze() -> tuple[int, int, list[int]] | None:
        async with Flight(client) as flight:
            await client.post("/pause?mode=keep")
            await asyncio.sleep(MOMENT)  # what was sampled before the pause arrives
            early = len(flight.token_ids)
            await asyncio.sleep(MOMENT)
            late = len(flight.token_ids)
            await client.post("/resume")
            last = await flight.last_choice()
        assert last["finish_reason"] == "length"
        return (early, late, flight.token_ids) if early < MANY else None

    early, late, token_ids = await caught(freeze)
    assert early == late
    assert token_ids == undisturbed


@pytest.mark.parametrize("mode", MODES)
async def test_a_new_request_waits_for_the_end_of_the_pause(server: Server, mode: str) -> None:
    client = server.client
    await client.post(f"/pause?mode={mode}")
    assert (await client.get("/is_paused")).body == {"is_paused": True}
    assert (await client.get("/is_sleeping")).body == {"is_sleeping": True}
    request = asyncio.create_task(client.post(COMPLETIONS, SHORT))
    assert await is_waiting(request)
    assert (await client.post("/resume")).body == {"status": "resumed"}
    reply = await request
    assert (reply.status, reply.body["choices"][0]["finish_reason"]) == (200, "length")
    assert (await client.get("/is_paused")).body == {"is_paused": False}


async def test_a_second_pause_aborts_what_the_first_one_let_wait(server: Server) -> None:
    client = server.client
    await client.post("/pause?mode=abort")
    request = asyncio.create_task(client.post(COMPLETIONS, SHORT))
    assert await is_waiting(request)
    await client.post("/pause?mode=abort")
    choice = (await request).body["choices"][0]
    assert (choice["finish_reason"], choice["token_ids"], choice["text"]) == ("abort", [], "")
    await client.post("/resume")


async def test_requests_are_aborted_without_a_pause(server: Server) -> None:
    async def abort() -> tuple[Json, Json] | None:
        async with Flight(server.client) as flight:
            reply = await server.client.post("/abort_requests", {})
            last = await flight.last_choice()
        return (reply.body, last) if flight.was_cut(last) else None

    said, last = await caught(abort)
    assert said == {"status": "aborted", "aborted": 1}
    assert last["finish_reason"] == "abort"
    assert (await server.client.post(COMPLETIONS, SHORT)).status == 200


async def test_a_stream_that_is_aborted_before_its_first_token_ends_without_a_reason(server: Server) -> None:
    client = server.client
    await client.post("/pause?mode=abort")
    request = asyncio.create_task(client.post(COMPLETIONS, {**SHORT, "stream": True, "return_token_ids": False}))
    assert await is_waiting(request)
    await client.post("/pause?mode=abort")
    assert (await request).body == ["[DONE]"]
    await client.post("/resume")


async def test_a_client_that_leaves_frees_its_place(server: Server) -> None:
    client = server.client
    async with Flight(client):
        assert "num_requests_running" in (await client.get("/metrics")).body
    async with asyncio.timeout(30):
        while await running(server):  # noqa: ASYNC110 - the server tells when asked, not by itself
            await asyncio.sleep(0.01)


async def running(server: Server) -> float:
    lines = (await server.client.get("/metrics")).body.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))


async def test_a_sleeping_server_lets_requests_wait_and_wakes_to_serve_them(server: Server) -> None:
    client = server.client
    assert (await client.post("/sleep?level=1")).body == {"status": "sleeping", "level": 1}
    assert (await client.get("/is_sleeping")).body == {"is_sleeping": True}
    request = asyncio.create_task(client.post(COMPLETIONS, SHORT))
    assert await is_waiting(request)
    assert (await client.post("/wake_up")).body == {"status": "awake", "tags": None}
    assert (await request).status == 200
