"""Real containers for every test, of one engine; the tests of one worker, so that they share it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agentenv.sandbox import Limits
from agentenv_docker import DockerSandboxes
from agentenv_docker.sandbox import DockerSandbox
from tests.conftest import require
from tests.sandbox.conftest import LIMITS
from tests.support.docker_engine import DockerEngine, NoEngineError, docker_engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sandbox_docker" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("docker"))


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    before = os.environ.get("DOCKER_HOST")
    try:
        with docker_engine() as running:
            yield running
    except NoEngineError as error:
        require(False, f"a Docker engine: {error}")
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before is not None:
            os.environ["DOCKER_HOST"] = before


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest_asyncio.fixture
async def sandboxes(engine: DockerEngine) -> AsyncIterator[DockerSandboxes]:
    async with DockerSandboxes(limits=LIMITS, warm=0, url=engine.url) as made:
        yield made


@pytest_asyncio.fixture
async def sandbox(sandboxes: DockerSandboxes) -> AsyncIterator[DockerSandbox]:
    async with await sandboxes.create() as made:
        yield made
