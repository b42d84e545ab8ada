"""What clients notice of a weight update: the longest silence between two tokens, with 32 streams on a vLLM on the CPU.

Every client streams one answer after the other. Around each update the longest time without a token is taken for each
client, from one token to the next, be it of the same answer or of the next one; and for comparison in equally long
stretches without an update, as 32 streams on few cores are never quite even. Ways take turns, in blocks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy
import torch
from safetensors.torch import load_file

from agentenv_tiny import create_policy
from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.process import ManagedServer
from agentenv_vllm.updates import LoRAUpdater, WeightUpdater, make_updater
from agentenv_vllm.worker import TransferBackend
from benchmarks.result import Result, Table

CLIENTS = 32
UPDATES = 10
"""A block."""
TOKENS = 128
"""An answer."""
AFTER_S = 0.5
"""How long after an update its silence may last."""
BETWEEN_S = 0.3
MODEL = "tiny"


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """One way to replace weights; without a backend, none is."""

    label: str
    backend: str | None = None
    pause: PauseMode = PauseMode.KEEP


WAYS = (
    Way("no update"),
    Way("folder, keep", "folder"),
    Way("transfer (file), keep", "transfer"),
    Way("lora, no pause", "lora"),
    Way("folder, abort", "folder", PauseMode.ABORT),
)


@dataclasses.dataclass(slots=True)
class Measured:
    """Of one way, over all blocks. Seconds."""

    silences: list[float] = dataclasses.field(default_factory=list)
    updates: list[float] = dataclasses.field(default_factory=list)
    staging: list[float] = dataclasses.field(default_factory=list)
    answers: int = 0
    failed: int = 0
    aborted: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Clients:
    """Streams that never end: each has the times at which its tokens came."""

    def __init__(self, base_url: str) -> None:
        self.model = MODEL
        self.arrivals: list[list[float]] = [[] for _ in range(CLIENTS)]
        self.answers = self.failed = self.aborted = 0
        self._url = f"{base_url}/completions"

    @asynccontextmanager
    async def streaming(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._stream(http, number)) for number in range(CLIENTS)]
            while not all(self.arrivals):  # noqa: ASYNC110 - what is waited for is another process's
                await asyncio.sleep(0.05)
            yield
            for task in tasks:
                task.cancel()

    async def _stream(self, http: aiohttp.ClientSession, number: int) -> None:
        body: dict[str, Any] = {"prompt": [5 + number, 6, 7, 8], "max_tokens": TOKENS, "ignore_eos": True}
        arrivals = self.arrivals[number]
        while True:
            try:
                async with http.post(self._url, json={**body, "model": self.model, "stream": True}) as reply:
                    reply.raise_for_status()
                    last = b""
                    async for line in reply.content:
                        if line.startswith(b"data: {"):
                            arrivals.append(time.perf_counter())
                            last = line
            except aiohttp.ClientError:
                self.failed += 1
                continue
            self.answers += 1
            # A stream that is aborted before its first token ends without a chunk, so without a reason.
            aborted = not last or b'"finish_reason":"abort"' in last
            self.aborted += aborted
            self.failed += not aborted and b'"finish_reason":"' not in last

    def longest_silences(self, begin: float, end: float) -> list[float]:
        """Of each client: the longest time between two tokens that overlaps with the stretch."""
        silences = []
        for times in self.arrivals:
            array = numpy.array(times)
            gaps = numpy.diff(array)
            overlapping = gaps[(array[1:] >= begin) & (array[:-1] <= end)]
            silences.append(float(overlapping.max()) if len(overlapping) else end - begin)
        return silences

    def forget(self) -> None:
        """Keeps the newest arrival alone."""
        for times in self.arrivals:
            del times[:-1]


def run(rounds: int = 3) -> Result:
    measured = {way.label: Measured() for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), rounds, measured))
    return _result(measured, rounds)


async def _measure(folder: Path, rounds: int, measured: dict[str, Measured]) -> None:
    torch.set_num_threads(1)
    create_policy(folder / "start")
    options = ServerOptions(
        model_name=MODEL,
        max_num_seqs=CLIENTS,
        max_model_len=256,
        kv_cache_memory_bytes=64 * 2**20,
        enable_lora=True,
        weight_transfer=TransferBackend.FILE,
        extra=("--max-loras", "2", "--disable-uvicorn-access-log"),
    )
    server = ManagedServer(folder / "start", options, log=folder / "server.log")
    async with server, VLLMApi(server.base_url) as api:
        schema = await api.openapi()
        routes = frozenset(schema["paths"] if schema else ())
        clients = Clients(server.base_url)
        async with clients.streaming():
            for _ in range(rounds):
                for way in WAYS:
                    updater = None
                    if way.backend is not None:
                        updater = make_updater(way.backend, api, server.folder, MODEL, way.pause)
                        await updater.start(routes)
                    await _block(clients, updater, server.folder, measured[way.label])


async def _block(clients: Clients, updater: WeightUpdater[Any] | None, folder: Path, into: Measured) -> None:
    base = load_file(folder / "model.safetensors")
    await _publish(updater, folder, base, 1, clients)  # warms up, and has every client ask for what is measured
    await asyncio.sleep(2.0)
    clients.forget()
    answers, failed, aborted, began = clients.answers, clients.failed, clients.aborted, time.perf_counter()
    stretches = []
    for version in range(2, 2 + UPDATES):
        begin = time.perf_counter()
        report = await _publish(updater, folder, base, version, clients)
        if report is not None:
            into.updates.append(time.perf_counter() - begin)
            into.staging.append(report)
        await asyncio.sleep(AFTER_S)
        stretches.append((begin, time.perf_counter()))
        await asyncio.sleep(BETWEEN_S)
    for begin, end in stretches:
        into.silences += clients.longest_silences(begin, end)
    into.answers += clients.answers - answers
    into.failed += clients.failed - failed
    into.aborted += clients.aborted - aborted
    into.tokens += sum(map(len, clients.arrivals)) - CLIENTS
    into.seconds += time.perf_counter() - began
    clients.model = MODEL
    if updater is not None:
        if not isinstance(updater, LoRAUpdater):
            await updater.publish(base, 0)
        await asyncio.sleep(2.0)  # requests of the last adapter are done
        await updater.close()


async def _publish(
    updater: WeightUpdater[Any] | None, folder: Path, base: dict[str, torch.Tensor], version: int, clients: Clients
) -> float | None:
    """Publishes other weights; the seconds of staging."""
    if updater is None:
        return None
    if isinstance(updater, LoRAUpdater):
        weights = _adapter(updater, base, version)
    else:
        weights = {name: tensor + 1e-3 * version * torch.randn_like(tensor) for name, tensor in base.items()}
    report = await updater.publish(weights, version)
    clients.model = updater.model_name
    return report.staging_s


def _adapter(updater: LoRAUpdater, base: dict[str, torch.Tensor], version: int) -> dict[str, torch.Tensor]:
    shape, weights = updater.shape, {}
    for name, tensor in base.items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in shape.target_modules:
            weights[f"{module}.lora_A.weight"] = torch.randn(shape.rank, tensor.shape[1])
            weights[f"{module}.lora_B.weight"] = 1e-3 * version * torch.randn(tensor.shape[0], shape.rank)
    return weights


def _result(measured: dict[str, Measured], rounds: int) -> Result:
    header = ["way", "silence p50, ms", "p99, ms", "update p50, ms", "p99, ms", "of it staging p50, ms"]
    rows = []
    for label, each in measured.items():
        times = [_percentile(each.silences, 50), _percentile(each.silences, 99)]
        times += [_percentile(each.updates, 50), _percentile(each.updates, 99), _percentile(each.staging, 50)]
        counts = [str(each.answers), str(each.failed), str(each.aborted), f"{each.tokens / each.seconds:.0f}"]
        rows.append([label, *times, *counts])
    kept = [each for label, each in measured.items() if "abort" not in label]
    failed = sum(each.failed + each.aborted for each in kept)
    folder, transfer, none = (measured[WAYS[number].label].silences for number in (1, 2, 0))
    verdict = (
        f"**{failed} of {sum(each.answers for each in kept)} requests failed** while weights were replaced under "
        f"{CLIENTS} streams (pause mode keep, and adapters). A client's longest silence around an update is "
        f"**{_percentile(folder, 50)} ms** by folder and {_percentile(transfer, 50)} ms by transfer at the median, "
        f"{_percentile(folder, 99)} and {_percentile(transfer, 99)} ms at the 99th percentile; in stretches as long "
        f"without an update {_percentile(none, 50)} and {_percentile(none, 99)} ms. Half a million float32 parameters, "
        f"every one compared after each update; {rounds} rounds of {UPDATES} updates a way. An aborted request ended "
        "with the tokens it had, which clients of ours ask for again."
    )
    data = {label: _summary(each) for label, each in measured.items()}
    return Result("weight_update", verdict, Table([*header, "answers", "failed", "aborted", "tokens/s"], rows), data)


def _summary(each: Measured) -> dict[str, Any]:
    body = dataclasses.asdict(each)
    for name in ("silences", "updates", "staging"):
        values = body.pop(name)
        body[f"{name}_ms"] = {f"p{share}": _percentile(values, share) for share in (50, 90, 99, 100)}
    return body


def _percentile(seconds: list[float], share: int) -> str:
    return f"{1000 * float(numpy.percentile(seconds, share)):.0f}" if seconds else "–"
