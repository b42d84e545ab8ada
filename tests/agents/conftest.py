"""A small model that can use a calculator, warmed up once for all tests of this folder (about ten seconds)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import LearnerConfig, TrainConfig, WarmupConfig  # noqa: E402
from agentenv.learn.warmup import warm_up  # noqa: E402
from agentenv.registry import EnvSpec, spec  # noqa: E402
from agentenv_tiny import TinyConfig, create_policy  # noqa: E402
from examples.agents.task import INSTRUCTIONS  # noqa: E402

WARMUP = WarmupConfig(demonstrator="oracle", demonstrations=2000, steps=150, rows_per_step=24, lr=3e-3)
"""Leaves about one task in ten unsolved at temperature 1, so that there is still something to learn."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """One worker makes the model, and it is the one that has the vLLM server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("vllm"))


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
