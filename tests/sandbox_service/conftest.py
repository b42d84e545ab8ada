"""A real service in this process, before real local sandboxes, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentenv.sandbox import Limits, Sandbox
from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv_local import LocalSandboxes
from agentenv_remote import RemoteSandboxes
from tests.sandbox.conftest import LIMITS
from tests.support.local_sandboxes import host  # noqa: F401 - skips where there can be no sandboxes


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest_asyncio.fixture
async def service() -> AsyncIterator[SandboxService]:
    async with SandboxService(LocalSandboxes(limits=LIMITS, warm=1), ServiceConfig(port=0)) as running:
        yield running


@pytest_asyncio.fixture
async def sandboxes(service: SandboxService) -> AsyncIterator[RemoteSandboxes]:
    async with RemoteSandboxes(service.url) as made:
        yield made


@pytest_asyncio.fixture
async def sandbox(sandboxes: RemoteSandboxes) -> AsyncIterator[Sandbox]:
    async with await sandboxes.create() as made:
        yield made
