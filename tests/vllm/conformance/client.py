"""A bare HTTP client: what a server answers, whatever it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]

CALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is parsed JSON, or for a stream the list of its events, or text."""

    status: int
    body: Any
    content_type: str


class Client:
    """`async with Client(root_url) as client`; every call has a timeout."""

    def __init__(self, root_url: str, headers: Mapping[str, str] | None = None) -> None:
        self._root, self._headers = root_url, dict(headers or {})
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(self._root, timeout=timeout, headers=self._headers, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._http is not None
        await self._http.close()

    async def post(self, path: str, body: Any = None, *, data: bytes | None = None, kind: str | None = None) -> Reply:
        """POST JSON, or with `data` exactly these bytes, as content type `kind`."""
        raw = json.dumps(body).encode() if data is None and body is not None else data
        return await self.call("POST", path, raw, kind or "application/json")

    async def get(self, path: str) -> Reply:
        return await self.call("GET", path)

    async def call(self, method: str, path: str, data: bytes | None = None, kind: str = "application/json") -> Reply:
        assert self._http is not None
        headers = {"Content-Type": kind} if data is not None else {}
        async with self._http.request(method, path, data=data, headers=headers) as response:
            return Reply(response.status, _parsed(await response.text()), response.content_type)

    @asynccontextmanager
    async def stream(self, path: str, body: Json) -> AsyncIterator[AsyncIterator[Any]]:
        """The events of a stream as they come, `"[DONE]"` among them."""
        assert self._http is not None
        async with self._http.post(path, json={**body, "stream": True}) as response:
            assert response.status == 200, await response.text()
            yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in response.content:
        if line.startswith(b"data: "):
            yield _event(line.decode())


def _event(line: str) -> Any:
    text = line.removeprefix("data: ").strip()
    return text if text == "[DONE]" else json.loads(text)


def _parsed(text: str) -> Any:
    if text.startswith("data: "):
        return [_event(line) for line in text.splitlines() if line.startswith("data: ")]
    try:
        return json.loads(text)
    except ValueError:
        return text
