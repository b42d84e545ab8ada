"""A fake of E2B's service in this process, its machines local sandboxes, and a client of it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import MIB, Limits, Promise, Sandbox
from agentenv_e2b import E2BSandboxes
from agentenv_local import LocalSandboxes
from tests.sandbox.conftest import LIMITS
from tests.support.fake_e2b import API_KEY, FakeE2B
from tests.support.local_sandboxes import host  # noqa: F401 - skips where there can be no sandboxes

MACHINE = dataclasses.replace(LIMITS, wall_seconds=120.0, cpu_seconds=60.0, pids=128, output_bytes=16 * MIB)
"""What a machine allows, which is more than the client does."""
ACCEPTED = (Promise.UNPRIVILEGED, Promise.MEMORY, Promise.PIDS, Promise.CPU, Promise.DISK)


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest_asyncio.fixture
async def service() -> AsyncIterator[FakeE2B]:
    async with LocalSandboxes(limits=MACHINE, warm=1) as machines, FakeE2B(machines, MACHINE).serve() as running:
        yield running


@pytest_asyncio.fixture
async def sandboxes(service: FakeE2B) -> AsyncIterator[E2BSandboxes]:
    url = service.url
    async with E2BSandboxes(api_key=API_KEY, url=url, sandbox_url=url, limits=LIMITS, without=ACCEPTED) as made:
        yield made


@pytest_asyncio.fixture
async def sandbox(sandboxes: E2BSandboxes) -> AsyncIterator[Sandbox]:
    async with await sandboxes.create() as made:
        yield made
