"""Real sandboxes for every test: a zygote of its own, and from it a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import MIB, Isolation, Limits
from agentenv_local import LocalSandboxes
from agentenv_local.sandbox import LocalSandbox
from tests.conftest import require

LIMITS = Limits(wall_seconds=20.0, cpu_seconds=20.0, memory_bytes=128 * MIB, pids=32, disk_bytes=8 * MIB, files=500)


@pytest.fixture(scope="session", autouse=True)
def host() -> None:
    """Skips loudly on a host that cannot wall anything off; in CI that is a failure."""
    promises = asyncio.run(LocalSandboxes().probe())
    kept = promises.isolation is Isolation.NAMESPACES and not promises.broken
    require(kept, f"a host that can hold local sandboxes: {promises.broken}")


@pytest_asyncio.fixture
async def sandboxes() -> AsyncIterator[LocalSandboxes]:
    async with LocalSandboxes(limits=LIMITS, warm=1) as made:
        yield made


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest_asyncio.fixture
async def sandbox(sandboxes: LocalSandboxes) -> AsyncIterator[LocalSandbox]:
    async with await sandboxes.create() as made:
        yield made
