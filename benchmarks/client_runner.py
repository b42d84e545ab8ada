"""Chat completions through one HTTP client, with many in flight.

python -m benchmarks.client_runner aiohttp --base-url http://127.0.0.1:8000/v1 --concurrency 1000 --sizes 3000
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from benchmarks.measure import Report, Run, Stopwatch, raise_file_limit
from benchmarks.workload import Sum, sums


class ClientKind(StrEnum):
    """Which client sends the requests."""

    AIOHTTP = "aiohttp"
    OPENAI_AIOHTTP = "openai-aiohttp"
    OPENAI_HTTPX = "openai-httpx"

    @property
    def label(self) -> str:
        return self.value.replace("-", " client on ")

    @property
    def package(self) -> str:
        return self.value.partition("-")[0]


Call = Callable[[Sum], Awaitable[str]]
"""Asks the model one question and gives the text of its answer."""


@asynccontextmanager
async def aiohttp_call(base_url: str, concurrency: int) -> AsyncIterator[Call]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def call(task: Sum) -> str:
            body = {"model": "mock", "messages": [{"role": "user", "content": task.question}], "max_tokens": 64}
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                reply = json.loads(await response.read())
            return str(reply["choices"][0]["message"]["content"])

        yield call


@asynccontextmanager
async def openai_call(base_url: str, concurrency: int, kind: ClientKind) -> AsyncIterator[Call]:
    import httpx2
    import openai

    # The client's own default keeps 100 connections alive; at 1,000 in flight it would reconnect for most calls.
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    make = openai.DefaultAioHttpClient if kind is ClientKind.OPENAI_AIOHTTP else openai.DefaultAsyncHttpxClient
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="none", http_client=make(limits=limits, timeout=120), max_retries=0
    ) as client:

        async def call(task: Sum) -> str:
            reply = await client.chat.completions.create(
                model="mock", messages=[{"role": "user", "content": task.question}], max_tokens=64
            )
            return reply.choices[0].message.content or ""

        yield call


async def measured(call: Call, calls: int, concurrency: int) -> Run:
    tasks = iter(sums(calls))
    right = 0

    async def worker() -> None:
        nonlocal right
        for task in tasks:
            text = await call(task)
            right += task.answer in text

    watch = Stopwatch()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, calls)):
            group.create_task(worker())
    return watch.run(calls, right / calls)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", type=ClientKind, choices=list(ClientKind))
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3000])
    parser.add_argument("--cold", action="store_true", help="opening the connections is part of the first run")
    given = parser.parse_args()
    raise_file_limit()
    kind: ClientKind = given.kind
    opened = (
        aiohttp_call(given.base_url, given.concurrency)
        if kind is ClientKind.AIOHTTP
        else openai_call(given.base_url, given.concurrency, kind)
    )
    async with opened as call:
        if not given.cold:
            await measured(call, given.concurrency, given.concurrency)
        runs = [await measured(call, size, given.concurrency) for size in given.sizes]
    Report(kind, importlib.metadata.version(kind.package), tuple(runs)).print()


if __name__ == "__main__":
    asyncio.run(main())
