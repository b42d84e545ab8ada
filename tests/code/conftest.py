"""Real sandboxes for every test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agentenv.env import Env
from agentenv.registry import make
from agentenv.resources import Resources
from agentenv.sandbox import Isolation
from agentenv_code.grading.grader import Grader
from agentenv_code.synthesis.env import LIMITS
from agentenv_local import LocalSandboxes
from tests.conftest import require


@pytest.fixture(scope="session", autouse=True)
def host() -> None:
    """Skips loudly on a host that cannot wall anything off; in CI that is a failure."""
    promises = asyncio.run(LocalSandboxes().probe())
    kept = promises.isolation is Isolation.NAMESPACES and not promises.broken
    require(kept, f"a host that can hold local sandboxes: {promises.broken}")


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[LocalSandboxes]:
    async with LocalSandboxes(limits=LIMITS) as made:
        yield made


@pytest.fixture
def grader(backend: LocalSandboxes) -> Grader:
    return Grader(backend, LIMITS)


@pytest_asyncio.fixture
async def shared() -> AsyncIterator[Resources]:
    """What the environments of a test share."""
    async with Resources() as resources:
        yield resources


@pytest.fixture
def environments(shared: Resources) -> Iterator[Environments]:
    with shared.active():
        yield Environments()


class Environments:
    """Makes environments of this package."""

    def __call__(self, name: str, **kwargs: object) -> Env:
        return make(f"code/{name}-v0", **kwargs)
