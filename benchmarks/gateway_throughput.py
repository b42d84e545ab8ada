"""Throughput of a real vLLM with our gateway before it, against the same vLLM without.

vLLM runs on the CPU with the demo's little model: on two cores that it shares with the gateway and the client, so that
whatever the gateway spends is taken from the model. Every answer is 64 tokens long. Asked directly, vLLM is asked twice
over: as an agent asks it, and for the token ids and logprobs that training needs, which it must give the gateway too.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.gateway_client import request, run_client, send_all
from benchmarks.gateway_servers import Server, gateway
from benchmarks.result import Result, Table

IN_FLIGHT = 32
CALLS = 6 * IN_FLIGHT
TOKENS = 64
TARGET = 0.97
"""Of the throughput of vLLM asked directly."""
_BODY: Mapping[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "56 minus 31, then plus 30"}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "temperature": 1.0,
}
_TOKEN_FIELDS = {"return_token_ids": True, "logprobs": True}


class Way(StrEnum):
    """How vLLM is asked."""

    PLAIN = "directly, as an agent asks"
    TOKENS = "directly, with token ids and logprobs"
    GATEWAY = "through the gateway"


def run(rounds: int = 12) -> Result:
    return asyncio.run(_run(rounds))


async def _run(rounds: int) -> Result:
    from agentenv_tiny import create_policy
    from agentenv_vllm.options import ServerOptions
    from agentenv_vllm.process import ManagedServer

    options = ServerOptions(
        model_name="tiny", max_model_len=512, max_num_seqs=IN_FLIGHT, kv_cache_memory_bytes=64 * 2**20, threads=1
    )
    with tempfile.TemporaryDirectory() as folder:
        create_policy(Path(folder) / "model")
        async with ManagedServer(Path(folder) / "model", options, log=Path(folder) / "server.log") as server:
            return await asyncio.to_thread(_measure, server.base_url.removesuffix("/v1"), rounds)


def _measure(vllm: str, rounds: int) -> Result:
    rates: dict[Way, list[float]] = defaultdict(list)
    sessions = itertools.count()
    with gateway(vllm) as ours:
        for number in range(rounds + 1):
            ways = list(Way)
            for way in ways[number % 3 :] + ways[: number % 3]:  # whoever comes first meets another machine
                rate = run_client(lambda way=way: _rate(vllm, ours, way, sessions))  # type: ignore[misc]
                if number > 0:  # the first round warms up
                    rates[way].append(rate)
    return _result(rates)


async def _rate(vllm: str, ours: Server, way: Way, sessions: Iterator[int]) -> float:
    """Answered calls a second."""
    url = ours.url if way is Way.GATEWAY else vllm
    body = {**_BODY, **(_TOKEN_FIELDS if way is Way.TOKENS else {})}
    paths = (ours.path(next(sessions)) if way is Way.GATEWAY else "/v1/chat/completions" for _ in range(CALLS))
    requests = [request(url, path, body) for path in paths]
    began = time.perf_counter()
    await send_all(url, requests, IN_FLIGHT)
    return CALLS / (time.perf_counter() - began)


def _result(rates: dict[Way, list[float]]) -> Result:
    def share(way: Way) -> float:
        """The median over the rounds: within one, all three met about the same machine."""
        pairs = zip(rates[Way.GATEWAY], rates[way], strict=True)
        return statistics.median(through / directly for through, directly in pairs)

    of_plain, of_tokens = share(Way.PLAIN), share(Way.TOKENS)
    verdict = (
        f"Through the gateway a CPU vLLM answers {of_tokens:.1%} of the calls a second that it answers directly when "
        f"asked for token ids and logprobs, and {of_plain:.1%} of those it answers when asked for text alone, with "
        f"{IN_FLIGHT} at a time (target: at least {TARGET:.0%} of direct): "
        f"{'met' if of_plain >= TARGET else 'met with tokens, missed without' if of_tokens >= TARGET else 'missed'}."
    )
    rows = [
        [
            way,
            f"{statistics.median(found):.1f}",
            f"{min(found):.1f} to {max(found):.1f}",
            f"{statistics.median(found) * TOKENS:.0f}",
        ]
        for way, found in rates.items()
    ]
    header = ["vLLM asked", "calls a second", "lowest to highest round", "tokens a second"]
    return Result(
        "gateway_throughput", verdict, Table(header, rows), {way.name.lower(): found for way, found in rates.items()}
    )
