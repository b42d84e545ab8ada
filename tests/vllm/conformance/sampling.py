"""Short greedy answers, with what is needed to tell which model gave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.vllm.conformance.cases import COMPLETIONS, MODEL
from tests.vllm.conformance.client import Client, Json
from tests.vllm.conformance.reference import is_from


@dataclass(frozen=True, slots=True)
class Sampled:
    """A greedy answer with its log-probabilities."""

    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]

    def is_from(self, folder: Path) -> bool:
        return is_from(folder, self.prompt_ids, self.token_ids, self.logprobs)


async def sample(client: Client, prompt_ids: list[int], **fields: object) -> Sampled:
    body: Json = {"model": MODEL, "prompt": prompt_ids, "max_tokens": 12, "temperature": 0, "ignore_eos": True}
    reply = await client.post(COMPLETIONS, {**body, "logprobs": 0, "return_token_ids": True, **fields})
    assert reply.status == 200, reply.body
    choice = reply.body["choices"][0]
    return Sampled(prompt_ids, choice["token_ids"], choice["logprobs"]["token_logprobs"])


async def reload(client: Client, folder: Path) -> None:
    reply = await client.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
    assert (reply.status, reply.body) == (200, {"results": [None]})
