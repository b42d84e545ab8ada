"""A server whose engine or whole process dies, and that comes back. (The fake alone, in a process of its own.)"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.fake_vllm import FakeVLLM, FakeVLLMProcess
from tests.support.fake_vllm.options import LogprobsMode, read_command_line
from tests.vllm.conformance.cases import COMPLETIONS, MODEL
from tests.vllm.conformance.client import Client
from tests.vllm.conformance.conftest import AS_REAL
from tests.vllm.conformance.flights import LONG, SHORT, Flight

FLAGS = ("--served-model-name", MODEL, "--logprobs-mode", "processed_logprobs", "--dtype", "float32")


@pytest.fixture
async def process(start: Path) -> AsyncIterator[FakeVLLMProcess]:
    async with FakeVLLMProcess(start, *FLAGS) as running:
        yield running


async def test_a_process_killed_in_the_middle_of_an_answer_cuts_it_off_and_serves_again_after_a_restart(
    process: FakeVLLMProcess, other: Path
) -> None:
    async with Client(process.base_url) as client:
        before = (await client.post(COMPLETIONS, SHORT)).body["choices"][0]["token_ids"]
        await client.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(other)}})
        # Sixteen answers beside it slow the one that is watched, lest it lands before it is shot down.
        whole = asyncio.create_task(client.post(COMPLETIONS, {**LONG, "n": 16, "temperature": 1.0}))
        async with Flight(client) as flight:
            await process.kill()
            with pytest.raises(aiohttp.ClientError):
                await flight.last_choice()
        with pytest.raises(aiohttp.ClientError):
            await whole
        assert "[DONE]" not in flight.events
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/health")
        address = process.base_url
        await process.restart()
        assert process.base_url == address
        after = (await client.post(COMPLETIONS, SHORT)).body["choices"][0]["token_ids"]
    assert after == before, "a restarted server has the weights of its folder again"


async def test_a_dead_engine_fails_requests_with_500_and_the_server_ends_soon_after(process: FakeVLLMProcess) -> None:
    async with Client(process.base_url) as client, Flight(client) as flight:
        process.kill_engine()
        await flight.ended()
        error = flight.events[-2]["error"]
        assert (error["code"], error["type"], flight.events[-1]) == (500, "InternalServerError", "[DONE]")
        async with asyncio.timeout(30):
            await process.wait()


async def test_a_server_without_its_engine_is_unhealthy_and_answers_500(start: Path) -> None:
    async with FakeVLLM(start, **AS_REAL) as server, Client(server.base_url) as client:
        server.kill_engine()
        assert (await client.get("/health")).status == 503
        assert (await client.get("/ping")).status == 503
        for body in (SHORT, {**SHORT, "stream": True}):
            reply = await client.post(COMPLETIONS, body)
            assert (reply.status, reply.body["error"]["type"]) == (500, "InternalServerError")
        assert (await client.post("/pause")).status == 500


async def test_a_terminated_process_ends_without_being_killed(process: FakeVLLMProcess) -> None:
    os.kill(process.pid, signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await process.wait() == 0


def test_the_command_line_is_that_of_vllm(start: Path) -> None:
    flags = ["--model", str(start), "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--api-key", "k"]
    transfer = ["--weight-transfer-config", '{"backend": "file"}', "--no-enable-prefix-caching", "--profile", "0.16"]
    command = read_command_line([*flags, *transfer], {"VLLM_SERVER_DEV_MODE": "1"})
    options = command.options
    assert (command.folder, options.api_key, options.weight_transfer) == (start, "k", "file")
    assert (options.dev_mode, options.runtime_lora, options.prefix_caching) == (True, False, False)
    assert (options.logprobs_mode, options.profile.version) == (LogprobsMode.RAW, "0.16.0")
