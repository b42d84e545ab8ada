"""Whether this host can hold local sandboxes, which the code environments' tests play in."""

from __future__ import annotations

import asyncio

import pytest

from agentenv.sandbox import Isolation
from agentenv_local import LocalSandboxes
from tests.conftest import require


@pytest.fixture(scope="session", autouse=True)
def host() -> None:
    """Skips loudly on a host that cannot wall anything off; in CI that is a failure."""
    promises = asyncio.run(LocalSandboxes().probe())
    kept = promises.isolation is Isolation.NAMESPACES and not promises.broken
    require(kept, f"a host that can hold local sandboxes: {promises.broken}")
