"""Real containers for every test, of one engine; the tests of one worker, so that they share it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import Limits
from agentenv_docker import DockerSandboxes
from agentenv_docker.sandbox import DockerSandbox
from tests.sandbox.conftest import LIMITS
from tests.support.docker_engine import DockerEngine


@pytest.fixture(scope="session")
def engine(running_docker: DockerEngine) -> DockerEngine:
    return running_docker


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
