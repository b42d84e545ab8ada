"""Plain processes, asked for in so many words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import MIB, Limits, Sandbox
from agentenv_subprocess import SubprocessSandboxes

LIMITS = Limits(wall_seconds=20.0, cpu_seconds=20.0, memory_bytes=512 * MIB, disk_bytes=8 * MIB)


@pytest_asyncio.fixture
async def sandboxes() -> AsyncIterator[SubprocessSandboxes]:
    async with SubprocessSandboxes(not_isolated=True, limits=LIMITS) as made:
        yield made


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest_asyncio.fixture
async def sandbox(sandboxes: SubprocessSandboxes) -> AsyncIterator[Sandbox]:
    async with await sandboxes.create() as made:
        yield made
