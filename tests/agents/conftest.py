"""A small model that can use a calculator, warmed up once for all tests of this folder (about ten seconds)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.episode import Episode  # noqa: E402
from agentenv.gateway import Gateway, GatewayConfig  # noqa: E402
from agentenv.learn.config import LearnerConfig, TrainConfig, WarmupConfig  # noqa: E402
from agentenv.learn.warmup import warm_up  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.registry import EnvSpec, spec  # noqa: E402
from agentenv.trajectory import Row, build_rows  # noqa: E402
from agentenv_tiny import EmbeddedServer, TinyConfig, create_policy, load_policy  # noqa: E402
from agentenv_vllm.policy import VLLMPolicy  # noqa: E402
from examples.agents.task import INSTRUCTIONS  # noqa: E402
from tests.support.real_vllm import RealVLLM  # noqa: E402

WARMUP = WarmupConfig(demonstrator="oracle", demonstrations=2000, steps=150, rows_per_step=24, lr=3e-3)
"""Leaves about one task in ten unsolved at temperature 1, so that there is still something to learn."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """One worker makes the model, and it is the one that has the vLLM server. Whoever asks for it first waits."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("vllm"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def environment() -> EnvSpec:
    """What the agents are scored by; the model was warmed up in it under the agents' instructions."""
    return spec("calculator-v0").with_kwargs(level=1, operand_max=12)


@pytest.fixture(scope="session")
def trained(environment: EnvSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model; it has the architecture that the shared vLLM server was started with."""
    folder = tmp_path_factory.mktemp("agents") / "trained"
    policy = create_policy(folder, TinyConfig(seed=0))
    demonstrated = environment.with_kwargs(system_prompt=INSTRUCTIONS)
    config = TrainConfig(environment=demonstrated.id, learner=LearnerConfig(threads=1))
    threads = torch.get_num_threads()
    try:
        asyncio.run(warm_up(policy.model, folder, demonstrated, config, WARMUP, lambda step: None))
    finally:
        torch.set_num_threads(threads)
    policy.save(folder)
    return folder


@pytest.fixture
async def embedded(trained: Path) -> AsyncIterator[Gateway]:
    """A gateway in front of the embedded server."""
    async with (
        EmbeddedServer(trained, model_name="tiny", threads=1, seed=0) as server,
        Gateway(GatewayConfig([server.base_url], port=0)) as gateway,
    ):
        yield gateway


@pytest.fixture
async def behind_vllm(trained: Path, real_vllm: RealVLLM) -> AsyncIterator[Gateway]:
    """A gateway in front of the real vLLM, given the trained weights while it runs."""
    async with VLLMPolicy(real_vllm.base_url) as policy:
        await policy.publish(load_policy(trained).model.state_dict(), version=1)
        async with Gateway(GatewayConfig([real_vllm.base_url], port=0)) as gateway:
            yield gateway


def rows_of(episode: Episode) -> Sequence[Row]:
    """The rows of an attempt that nobody has ended yet, as if it had ended well."""
    return build_rows([replace(episode, status=Status.OK)]).rows
