"""What the tests of weight updates share: other weights, what transformers says they give, and a proxy with faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import torch
from aiohttp import web
from safetensors.torch import load_file

from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.updates import LoRAShape

PROMPT = tuple(5 + number % 300 for number in range(136))
"""Ids of a prompt that fills a block of the prefix cache, which on a CPU has 128 tokens."""

MANY = 370
"""Tokens of an answer that takes long; together with the prompt they fit the context."""

State = dict[str, torch.Tensor]


def weights_of(folder: Path) -> State:
    weights: State = load_file(folder / "model.safetensors")
    return weights


def other_weights(folder: Path, seed: int, size: float = 0.02) -> State:
    """Weights near those of the folder, and far enough that greedy answers differ."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor + size * torch.randn(tensor.shape, generator=generator)
        for name, tensor in weights_of(folder).items()
    }


def adapter_weights(folder: Path, seed: int, shape: LoRAShape) -> tuple[State, State]:
    """A LoRA adapter under peft's names, and the base model's weights with it merged in by hand."""
    generator = torch.Generator().manual_seed(seed)
    adapter: State = {}
    merged = weights_of(folder)
    for name, tensor in merged.items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] not in shape.target_modules:
            continue
        down = 0.1 * torch.randn(shape.rank, tensor.shape[1], generator=generator)
        up = 0.1 * torch.randn(tensor.shape[0], shape.rank, generator=generator)
        adapter[f"base_model.model.{module}.lora_A.weight"] = down
        adapter[f"base_model.model.{module}.lora_B.weight"] = up
        merged[name] = tensor + (shape.alpha / shape.rank) * up @ down
    return adapter, merged


@dataclass(frozen=True)
class Answer:
    """Sampled ids and their logprobs."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str = ""
    versions: tuple[tuple[str, int, int], ...] = ()

    def differs_from(self, other: Answer) -> float:
        """The largest difference of logprobs; infinite when the tokens differ."""
        if self.ids != other.ids:
            return float("inf")
        return max(abs(mine - theirs) for mine, theirs in zip(self.logprobs, other.logprobs, strict=True))


class Reference:
    """transformers with the weights of one's choice: what any server must answer with them."""

    def __init__(self, folder: Path) -> None:
        from transformers import LlamaForCausalLM

        self._model = LlamaForCausalLM.from_pretrained(folder).eval()

    def greedy(self, weights: Mapping[str, torch.Tensor], tokens: int = 12) -> Answer:
        self._model.load_state_dict(weights)
        ids, sampled, logprobs = list(PROMPT), [], []
        for _ in range(tokens):
            row = self._rows(ids)[-1]
            sampled.append(int(row.argmax()))
            logprobs.append(float(row.max()))
            ids.append(sampled[-1])
        return Answer(tuple(sampled), tuple(logprobs))

    def logprobs(self, weights: Mapping[str, torch.Tensor], answer: Answer) -> list[float]:
        """Those of an answer's tokens, each given the prompt and the tokens before it."""
        self._model.load_state_dict(weights)
        rows = self._rows([*PROMPT, *answer.ids])[len(PROMPT) - 1 : -1]
        return [float(row[token]) for row, token in zip(rows, answer.ids, strict=True)]

    @torch.no_grad()
    def _rows(self, ids: list[int]) -> torch.Tensor:
        return torch.log_softmax(self._model(torch.tensor([ids])).logits[0].float(), -1)


async def greedy(api: VLLMApi, model: str = "tiny", tokens: int = 12, **extra: Any) -> Answer:
    """The server's greedy answer to the prompt."""
    body = {"model": model, "prompt": list(PROMPT), "max_tokens": tokens, "temperature": 0, "logprobs": 0}
    reply = await api.post(
        "/v1/completions", {**body, "return_token_ids": True, "ignore_eos": True, **extra}, timeout=60
    )
    choice = reply["choices"][0]
    return Answer(tuple(choice["token_ids"]), tuple(choice["logprobs"]["token_logprobs"]), choice["finish_reason"])


class UnderWay:
    """An answer that is being streamed.

    Example:
        async with UnderWay(api, "tiny") as request:   # its first token is there
            ...
            answer = await request.finished()
    """

    def __init__(self, api: VLLMApi, model: str = "tiny", *, seed: int = 0, tokens: int = MANY) -> None:
        self._url = api.root / "inference/v1/generate"
        sampling = {"max_tokens": tokens, "temperature": 1.0, "seed": seed, "logprobs": 0, "ignore_eos": True}
        self._body = {"model": model, "token_ids": list(PROMPT), "sampling_params": sampling, "stream": True}
        self._begun = asyncio.Event()
        self._chunks: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._receive())
        begun = asyncio.create_task(self._begun.wait())
        await asyncio.wait({self._task, begun}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    @property
    def done(self) -> bool:
        return self._task.done()

    async def settled(self) -> None:
        """Waits until what was sampled before a pause has arrived."""
        arrived = -1
        while arrived != len(self._chunks) and not self.done:
            arrived = len(self._chunks)
            await asyncio.sleep(0.2)

    async def finished(self) -> Answer:
        """The whole answer, with the spans of tokens that each version sampled."""
        async with asyncio.timeout(60):
            await self._task
        ids = tuple(token for chunk in self._chunks for token in chunk["token_ids"] or ())
        entries = [entry for chunk in self._chunks for entry in (chunk["logprobs"] or {"content": ()})["content"]]
        last = self._chunks[-1]
        spans = tuple((span["version"], span["start"], span["end"]) for span in last["weight_versions"] or ())
        return Answer(ids, tuple(entry["logprob"] for entry in entries), last["finish_reason"], spans)

    async def _receive(self) -> None:
        async with aiohttp.ClientSession() as http, http.post(self._url, json=self._body) as reply:
            assert reply.status == 200, await reply.text()
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    self._chunks += json.loads(line[6:])["choices"]
                    self._begun.set()


@asynccontextmanager
async def frozen(api: VLLMApi, model: str = "tiny", *, requests: int = 4) -> AsyncIterator[list[UnderWay]]:
    """Requests that have a few of their tokens, on a server that is paused with mode keep.

    Tried until none was done before the pause: how fast a machine is, and what else it does, must not matter.
    """
    for attempt in range(50):
        async with AsyncExitStack() as stack:
            begun = [UnderWay(api, model, seed=100 * attempt + number) for number in range(requests)]
            await asyncio.gather(*(stack.enter_async_context(request) for request in begun))
            await api.pause(PauseMode.KEEP)
            await asyncio.gather(*(request.settled() for request in begun))
            if not any(request.done for request in begun):
                yield begun
                return
            await api.resume()
    raise AssertionError("every request was done before the server could be paused")


async def routes_of(api: VLLMApi) -> frozenset[str]:
    schema = await api.openapi()
    assert schema is not None
    return frozenset(schema["paths"])


Fault = Callable[["Passage"], Awaitable[web.StreamResponse]]


@dataclass
class Passage:
    """A request on its way through the proxy."""

    proxy: FaultyProxy
    request: web.Request
    body: bytes

    async def forward(self, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> web.Response:
        """The server's own answer, to the request as it is or with another body."""
        body = self.body if change is None else json.dumps(change(json.loads(self.body))).encode()
        return await self.proxy.forward(self.request, body)


@dataclass
class FaultyProxy:
    """Stands before a server; every request to a route takes the next fault planned for it, or passes.

    Attributes:
        faults: by path; each is used once, in order.
        always: by path; used whenever none is left.
        seen: paths, in order of arrival.
    """

    upstream: str
    base_url: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    http: aiohttp.ClientSession | None = None

    def plan(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, []).extend(faults)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path)
        planned = self.faults.get(request.path)
        fault = planned.pop(0) if planned else self.always.get(request.path)
        passage = Passage(self, request, await request.read())
        return await (fault(passage) if fault is not None else passage.forward())

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        assert self.http is not None
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        url = self.upstream + request.path_qs
        async with self.http.request(request.method, url, data=body or None, headers=headers) as reply:
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)


@asynccontextmanager
async def faulty_proxy(upstream: str) -> AsyncIterator[FaultyProxy]:
    async with aiohttp.ClientSession() as http:
        proxy = FaultyProxy(upstream, http=http)
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()


async def refuse(passage: Passage) -> web.StreamResponse:
    """Fails before the server hears of it."""
    return web.json_response({"error": {"message": "made to fail"}}, status=500)


async def done_and_denied(passage: Passage) -> web.StreamResponse:
    """The server does it, and the caller hears that it failed."""
    await passage.forward()
    return web.json_response({"error": {"message": "made to fail afterwards"}}, status=500)


async def cut(passage: Passage) -> web.StreamResponse:
    """The connection breaks."""
    assert passage.request.transport is not None
    passage.request.transport.close()
    return web.Response()


async def hang(passage: Passage) -> web.StreamResponse:
    """No answer for a long time."""
    await asyncio.sleep(3600)
    return web.Response()


async def ignore(passage: Passage) -> web.StreamResponse:
    """The caller hears that all is well, and nothing was done."""
    return web.json_response({"results": [None]})
