"""Weights are replaced while agents are served: no call fails, and what was given up is on record as that."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentenv.gateway import CallStatus, Gateway
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_calls import calls
from tests.gateway.test_faults import until

pytest.importorskip("torch")

from tests.support.fake_vllm import FakeVLLM

ASKED: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 150, "extra_body": {"ignore_eos": True}}
AGENTS = 6


async def post(url: str) -> None:
    async with aiohttp.ClientSession() as http, http.post(url) as response:
        assert response.status == 200, await response.text()


async def replace_weights(server: FakeVLLM, gateway: Gateway, mode: str) -> None:
    """Pauses the server in the middle of the agents' calls, as an update does, and lets it go on."""
    await until(lambda: gateway.router.replicas[0].in_flight == AGENTS)
    await post(f"{server.base_url}/pause?mode={mode}")
    if mode == "abort":
        await until(lambda: gateway.statistics.calls[CallStatus.ABORTED] > 0)
    await post(f"{server.base_url}/resume")


@pytest.mark.parametrize("mode", ["keep", "abort"])
async def test_no_call_fails_while_weights_are_replaced(
    policy_folder: Path, make_gateway: MakeGateway, client: Client, mode: str
) -> None:
    async with FakeVLLM(policy_folder, profile="0.32", model_name="tiny", max_model_len=512) as server:
        gateway = await make_gateway(server.base_url, pause_seconds=20.0)
        agents = [client(gateway, f"agent-{number}") for number in range(AGENTS)]
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(agent.chat.completions.create(**ASKED)) for agent in agents]
            await replace_weights(server, gateway, mode)
        assert [one.result().choices[0].finish_reason for one in asking] == ["length"] * AGENTS
        statuses: Counter[CallStatus] = Counter()
        for number in range(AGENTS):
            records = calls(gateway, f"agent-{number}")
            statuses.update(record.status for record in records)
            (whole,) = (record for record in records if record.status is CallStatus.OK)
            assert whole.tokens is not None
            assert len(whole.tokens.sampled_ids) == 150
    assert statuses[CallStatus.OK] == AGENTS
    assert (statuses[CallStatus.ABORTED] > 0) == (mode == "abort")
