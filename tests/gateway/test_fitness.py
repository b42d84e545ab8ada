"""A server whose log-probabilities are not of the distribution it samples from is found out, and nothing else is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agentenv.gateway.fitness import has_raw_logprobs, warn_of_raw_logprobs
from tests.gateway.conftest import MakeGateway
from tests.gateway.upstream import Handler, Upstream, always
from tests.support.fake_vllm import FakeVLLM, LogprobsMode


def with_logprobs(at: dict[float, list[float]]) -> Handler:
    """A server whose likeliest tokens have these logprobs, by temperature."""

    async def handle(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        top = {f"token {rank}": logprob for rank, logprob in enumerate(at[body["temperature"]])}
        return web.json_response({"choices": [{"text": "x", "logprobs": {"top_logprobs": [top]}}]})

    return handle


@pytest.mark.parametrize(
    ("cool", "hot", "raw"),
    [
        ([-0.5, -1.5, -2.5], [-0.5, -1.5, -2.5], True),
        ([-0.5, -1.5, -2.5], [-0.51, -1.49, -2.48], True),
        ([-0.5, -1.5, -2.5], [-0.9, -1.4, -1.9], False),
        ([-5.0, -5.01, -5.02], [-5.0, -5.01, -5.02], None),  # too even to tell
    ],
)
async def test_what_doubling_the_temperature_does_tells(
    make_gateway: MakeGateway, cool: list[float], hot: list[float], raw: bool | None
) -> None:
    async with Upstream(with_logprobs({1.0: cool, 2.0: hot})) as upstream:
        gateway = await make_gateway(upstream.url)
        assert await has_raw_logprobs(gateway.router, gateway.router.replicas[0]) is raw
    assert [(body["model"], body["max_tokens"]) for body in upstream.bodies] == [("scripted", 1)] * 2


@pytest.mark.parametrize(
    "handler",
    [
        always({"error": {"message": "no"}}, status=400),
        always(b"no JSON"),
        always({"choices": []}),
        always({"choices": [{"logprobs": None}]}),
        always({"choices": [{"logprobs": {"top_logprobs": [{"a": None, "b": "x", "c": 1}]}}]}),
    ],
)
async def test_a_server_that_cannot_tell_is_passed_over(
    make_gateway: MakeGateway, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async with Upstream(handler) as upstream:
        gateway = await make_gateway(upstream.url)
        await warn_of_raw_logprobs(gateway.router, "m")
    assert not caplog.records


async def test_a_vllm_with_its_defaults_is_warned_of_and_one_that_is_told_is_not(
    tmp_path: Path, make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = pytest.importorskip("agentenv_tiny")
    pytest.importorskip("torch")
    config = tiny.TinyConfig(layers=1, hidden=32, heads=2, intermediate=48, initial_std=0.3, seed=3)
    folder = tiny.build_policy(config).save(tmp_path / "tiny")
    async with (
        FakeVLLM(folder, logprobs_mode=LogprobsMode.RAW) as raw,
        FakeVLLM(folder, logprobs_mode=LogprobsMode.PROCESSED) as processed,
    ):
        gateway = await make_gateway(raw.base_url, processed.base_url)
        with caplog.at_level(logging.WARNING):
            await warn_of_raw_logprobs(gateway.router)
        replicas = gateway.router.replicas
    (warning,) = (record.getMessage() for record in caplog.records)
    assert warning.startswith(replicas[0].url)
    assert warning.endswith("Start it with --logprobs-mode processed_logprobs")
