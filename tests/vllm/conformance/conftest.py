"""The two servers that must behave alike: the fake in this process, and the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv_tiny import TinyConfig, create_policy
from tests.support.fake_vllm import FakeVLLM, LogprobsMode
from tests.support.real_vllm import RealVLLM
from tests.vllm.conformance.cases import MODEL
from tests.vllm.conformance.client import Client

AS_REAL: dict[str, Any] = {
    "model_name": MODEL,
    "max_model_len": 512,
    "logprobs_mode": LogprobsMode.PROCESSED,
    "tool_call_parser": "hermes",
    "auto_tool_choice": True,
    "scale_out": True,
    "enable_lora": True,
    "weight_transfer": "file",
    "worker_extension": "agentenv_vllm_worker.WorkerExtension",
}
"""The options of the fake that are those of `tests.support.real_vllm`."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and a client for it. `folder` is the model it was started with."""

    client: Client
    folder: Path


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the recorded answers come from."""
    return _policy(tmp_path_factory, "start", seed=0)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights of the same sizes."""
    return _policy(tmp_path_factory, "other", seed=1)


def _policy(tmp_path_factory: pytest.TempPathFactory, name: str, seed: int) -> Path:
    folder = tmp_path_factory.mktemp("policies") / name
    create_policy(folder, TinyConfig(seed=seed))
    return folder


@pytest.fixture(
    params=["fake", pytest.param("real", marks=[pytest.mark.xdist_group("vllm"), pytest.mark.slow])],
)
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two a test runs against."""
    return str(request.param)


@pytest.fixture
def running_vllm(kind: str, request: pytest.FixtureRequest) -> RealVLLM | None:
    """The real server, started and put in order outside of the test's event loop; None when it is the fake's turn."""
    return request.getfixturevalue("real_vllm") if kind == "real" else None


@pytest.fixture
async def server(running_vllm: RealVLLM | None, start: Path) -> AsyncIterator[Server]:
    """Each test that asks for it runs against the fake and against the real vLLM."""
    if running_vllm is not None:
        async with Client(running_vllm.root_url) as client:
            yield Server(client, running_vllm.folder)
        return
    async with FakeVLLM(start, **AS_REAL) as fake, Client(fake.base_url) as client:
        yield Server(client, start)
