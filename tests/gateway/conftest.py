"""Gateways on loopback, over the embedded policy or an upstream of the test's own, and the libraries' clients."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from agentenv.gateway import Gateway, GatewayClient, GatewayConfig
from agentenv.rollout import Journal

MESSAGES: Any = [{"role": "user", "content": "12 times 34"}]
MakeGateway = Callable[..., Awaitable[Gateway]]
Client = Callable[..., openai.AsyncOpenAI]


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model: its text is noise, its tokens are real."""
    pytest.importorskip("torch")
    from agentenv_tiny import TinyConfig, build_policy

    policy = build_policy(
        TinyConfig(layers=2, hidden=32, heads=2, intermediate=48, initial_std=0.3, context=512, seed=3)
    )
    return policy.save(tmp_path_factory.mktemp("policy") / "tiny")


@pytest.fixture
async def make_gateway() -> AsyncIterator[MakeGateway]:
    """Starts gateways: `await make_gateway(url, …, journal=None, **settings)`. They end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(*upstreams: str, journal: Journal | None = None, **settings: Any) -> Gateway:
            defaults = {"port": 0, "health_seconds": 0.1, "pause_seconds": 0.2}
            config = GatewayConfig(upstreams, **{**defaults, **settings})
            return await stack.enter_async_context(Gateway(config, journal))

        yield make


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """OpenAI clients: `client(gateway, "session")`, or without a session."""
    async with contextlib.AsyncExitStack() as stack:

        def make(gateway: Gateway, session: str | None = None, **options: Any) -> openai.AsyncOpenAI:
            path = "/v1" if session is None else f"/sessions/{session}/v1"
            defaults: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": 20.0}
            made = openai.AsyncOpenAI(base_url=gateway.url + path, **{**defaults, **options})
            stack.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
async def claude() -> AsyncIterator[Callable[[Gateway, str], anthropic.AsyncAnthropic]]:
    """Anthropic clients of a session."""
    async with contextlib.AsyncExitStack() as stack:

        def make(gateway: Gateway, session: str) -> anthropic.AsyncAnthropic:
            made = anthropic.AsyncAnthropic(
                base_url=f"{gateway.url}/sessions/{session}", api_key="none", max_retries=0, timeout=20.0
            )
            stack.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
async def harness() -> AsyncIterator[Callable[[Gateway], Awaitable[GatewayClient]]]:
    """Typed clients of the session routes."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(gateway: Gateway, **options: Any) -> GatewayClient:
            return await stack.enter_async_context(GatewayClient(gateway.url, **options))

        yield make
