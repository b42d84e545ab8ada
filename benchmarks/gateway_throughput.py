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
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
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


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of calls came to: calls a second, and CPU seconds a call of vLLM and of the gateway."""

    rate: float
    vllm_cpu: float
    gateway_cpu: float


class Way(StrEnum):
    """How vLLM is asked."""

    PLAIN = "directly, as an agent asks"
    TOKENS = "directly, with token ids and logprobs"
    GATEWAY = "through the gateway"


def run(rounds: int = 10) -> Result:
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
            assert server.pid is not None
            vllm = Server("vLLM", "", server.pid, server.base_url.removesuffix("/v1"), lambda n: "/v1/chat/completions")
            return await asyncio.to_thread(_measure, vllm, rounds)


def _measure(vllm: Server, rounds: int) -> Result:
    blocks: dict[Way, list[Block]] = defaultdict(list)
    sessions = itertools.count()
    with gateway(vllm.url) as ours:
        for number in range(rounds + 1):
            ways = list(Way)
            for way in ways[number % 3 :] + ways[: number % 3]:  # whoever comes first meets another machine
                block = run_client(partial(_block, vllm, ours, way, sessions))
                if number > 0:  # the first round warms up
                    blocks[way].append(block)
    return _result(blocks)


async def _block(vllm: Server, ours: Server, way: Way, sessions: Iterator[int]) -> Block:
    asked = ours if way is Way.GATEWAY else vllm
    body = {**_BODY, **(_TOKEN_FIELDS if way is Way.TOKENS else {})}
    requests = [request(asked.url, asked.path(next(sessions)), body) for _ in range(CALLS)]
    began, before = time.perf_counter(), (vllm.cpu_seconds(), ours.cpu_seconds())
    await send_all(asked.url, requests, IN_FLIGHT)
    seconds = time.perf_counter() - began
    vllm_cpu, gateway_cpu = (
        (now - then) / CALLS for now, then in zip((vllm.cpu_seconds(), ours.cpu_seconds()), before, strict=True)
    )
    return Block(CALLS / seconds, vllm_cpu, gateway_cpu)


def _result(blocks: dict[Way, list[Block]]) -> Result:
    def shares(way: Way) -> list[float]:
        """By round: within one, all three met about the same machine."""
        pairs = zip(blocks[Way.GATEWAY], blocks[way], strict=True)
        return [through.rate / directly.rate for through, directly in pairs]

    def median(way: Way, of: str) -> float:
        return statistics.median(float(getattr(block, of)) for block in blocks[way])

    rounds = shares(Way.TOKENS)
    of_plain, of_tokens = statistics.median(shares(Way.PLAIN)), statistics.median(rounds)
    vllm_cpu, gateway_cpu = median(Way.TOKENS, "vllm_cpu"), median(Way.GATEWAY, "gateway_cpu")
    outcome = "met" if of_plain >= TARGET else "met with tokens, missed without" if of_tokens >= TARGET else "missed"
    verdict = (
        f"Through the gateway a CPU vLLM answers {of_tokens:.1%} of the calls a second that it answers directly when "
        f"asked for token ids and logprobs ({min(rounds):.0%} to {max(rounds):.0%} by round), "
        f"and {of_plain:.1%} of those it answers when asked for text alone, with "
        f"{IN_FLIGHT} at a time (target: at least {TARGET:.0%} of direct): {outcome}. Of a call's CPU time "
        f"vLLM takes {vllm_cpu * 1000:.1f} ms with tokens, {median(Way.PLAIN, 'vllm_cpu') * 1000:.1f} ms without, and "
        f"the gateway {gateway_cpu * 1000:.2f} ms ({gateway_cpu / vllm_cpu:.1%})."
    )
    rows = [
        [
            way,
            f"{median(way, 'rate'):.1f}",
            f"{min(block.rate for block in found):.1f} to {max(block.rate for block in found):.1f}",
            f"{median(way, 'vllm_cpu') * 1000:.1f}",
            f"{median(way, 'gateway_cpu') * 1000:.2f}",
        ]
        for way, found in blocks.items()
    ]
    header = ["vLLM asked", "calls a second", "lowest to highest round", "CPU of vLLM a call, ms", "of the gateway, ms"]
    data = {way.name.lower(): [asdict(block) for block in found] for way, found in blocks.items()}
    return Result("gateway_throughput", verdict, Table(header, rows), data)
