"""A service with limits of the test's own, and requests to it by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv_local import LocalSandboxes
from tests.sandbox.conftest import LIMITS


@asynccontextmanager
async def serving(now: Callable[[], float] | None = None, **config: Any) -> AsyncIterator[SandboxService]:
    """A service before local sandboxes, none of them ready beforehand."""
    backend = LocalSandboxes(limits=LIMITS, warm=0)
    async with SandboxService(backend, ServiceConfig(**{"port": 0, **config}), now) as service:
        yield service


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of the error."""
        return str(self.json["error"]["code"])


async def ask(service: SandboxService, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request; a body that is not bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{service.url}{path}", data=data, headers=headers) as response,
    ):
        return Answer(response.status, dict(response.headers), await response.read())


async def until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Waits for something that nobody tells."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def opened(service: SandboxService) -> str:
    """The path of a new sandbox."""
    return f"/sandboxes/{(await ask(service, 'POST', '/sandboxes')).json['sandbox']}"
