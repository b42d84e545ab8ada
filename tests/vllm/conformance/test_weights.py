"""New weights into a running server: what is sampled is what one model gives, unless cached keys are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.vllm.conformance.cases import COMPLETIONS, MODEL, PROMPT
from tests.vllm.conformance.client import Json
from tests.vllm.conformance.conftest import Server
from tests.vllm.conformance.flights import SHORT, Flight, caught, is_waiting
from tests.vllm.conformance.reference import is_from, is_from_adapter, make_adapter
from tests.vllm.conformance.sampling import reload, sample

LONG_PROMPT = [20 + index % 200 for index in range(300)]
"""More than two of the cache's blocks of 128 tokens."""


async def test_reloaded_weights_are_sampled_from_once_the_prefix_cache_is_reset(server: Server, other: Path) -> None:
    client = server.client
    assert (await sample(client, LONG_PROMPT)).is_from(server.folder)
    await reload(client, other)
    stale = await sample(client, LONG_PROMPT)
    assert not stale.is_from(other)
    assert not stale.is_from(server.folder)
    assert (await sample(client, LONG_PROMPT, cache_salt="new")).is_from(other)
    assert (await sample(client, LONG_PROMPT[:100])).is_from(other), "a prompt that fills no block is never cached"
    assert (await client.post("/reset_prefix_cache")).body == {"success": True}
    assert (await sample(client, LONG_PROMPT)).is_from(other)


async def test_frozen_requests_go_on_with_the_new_weights_as_if_those_had_read_everything(
    server: Server, other: Path
) -> None:
    client = server.client

    async def update() -> None:
        await reload(client, other)
        assert (await client.post("/update_weight_version", {"new_version": "7"})).status == 200

    frozen = await while_frozen(server, update)
    cut, end = frozen.cut, len(frozen.token_ids)
    assert frozen.versions == [
        {"version": "default", "start": 0, "end": cut},
        {"version": "7", "start": cut, "end": end},
    ]
    assert (await client.get("/weight_info")).body == {"weight_version": "7"}
    assert is_from(server.folder, PROMPT, frozen.token_ids[:cut], frozen.logprobs[:cut])
    assert frozen.goes_on_as(other)


async def test_frozen_requests_that_keep_their_cache_sample_from_no_model_at_all(server: Server, other: Path) -> None:
    client = server.client
    said = []

    async def update() -> None:
        said.append((await client.post("/reset_prefix_cache")).body)
        await reload(client, other)
        await client.post("/update_weight_version", {"new_version": "7"})

    frozen = await while_frozen(server, update, clear_cache=False)
    assert said[-1] == {"success": False}
    assert not frozen.goes_on_as(other)


async def test_the_cache_of_frozen_requests_is_reset_when_asked_for(server: Server, other: Path) -> None:
    client = server.client

    async def update() -> None:
        await reload(client, other)
        await client.post("/update_weight_version", {"new_version": "7"})
        reset = await client.post("/reset_prefix_cache?reset_running_requests=true")
        assert reset.body == {"success": True}

    assert (await while_frozen(server, update, clear_cache=False)).goes_on_as(other)


@dataclass(frozen=True, slots=True)
class Frozen:
    """An answer in the middle of which weights changed, after `cut` tokens."""

    versions: list[Json]
    token_ids: list[int]
    logprobs: list[float]

    @property
    def cut(self) -> int:
        end: int = self.versions[0]["end"]
        return end

    def goes_on_as(self, folder: Path) -> bool:
        """Whether all after the cut is what this model gives, having read what came before by itself."""
        cut = self.cut
        return is_from(folder, [*PROMPT, *self.token_ids[:cut]], self.token_ids[cut:], self.logprobs[cut:])


async def while_frozen(server: Server, update: Callable[[], Awaitable[None]], *, clear_cache: bool = True) -> Frozen:
    """What becomes of a request during which the server is paused with mode keep and updated."""
    client = server.client

    async def freeze() -> Frozen | None:
        async with Flight.by_token(client) as flight:
            await client.post(f"/pause?mode=keep&clear_cache={str(clear_cache).lower()}")
            await update()
            await client.post("/resume")
            last = await flight.last_choice()
        if not flight.was_cut(last):
            await reload(client, server.folder)
            await client.post("/update_weight_version", {"new_version": "default"})
            await client.post("/reset_prefix_cache")
            return None
        chunks = [event["choices"][0] for event in flight.events if isinstance(event, dict)]
        logprobs = [record["logprob"] for chunk in chunks for record in (chunk["logprobs"] or {}).get("content") or ()]
        return Frozen(last["weight_versions"], flight.token_ids, logprobs)

    return await caught(freeze)


async def test_an_update_in_four_phases_takes_its_weights_from_files(
    server: Server, other: Path, tmp_path: Path
) -> None:
    client = server.client
    assert (await client.post("/init_weight_transfer_engine", {"init_info": {}})).status == 200
    await client.post("/pause?mode=keep")
    assert (await client.post("/start_weight_update", {})).body == {"message": "Weight update started"}
    for part in in_two_files(other, tmp_path):
        reply = await client.post("/update_weights", {"update_info": {"path": str(part)}})
        assert (reply.status, reply.body) == (200, {"message": "Weights updated"})
    reply = await client.post("/finish_weight_update", {"weight_version": "3"})
    assert reply.body == {"message": "Weight update finished"}
    assert (await client.get("/weight_info")).body == {"weight_version": "3"}
    await client.post("/reset_prefix_cache")
    await client.post("/resume")
    assert (await sample(client, LONG_PROMPT)).is_from(other)


async def test_an_update_that_failed_is_repaired_by_a_whole_new_one(
    server: Server, other: Path, tmp_path: Path
) -> None:
    client = server.client
    await client.post("/init_weight_transfer_engine", {"init_info": {}})
    await client.post("/start_weight_update", {})
    second_start = await client.post("/start_weight_update", {})
    assert (second_start.status, second_start.body["error"]["type"]) == (500, "InternalServerError")
    lost = await client.post("/update_weights", {"update_info": {"path": str(tmp_path / "lost")}})
    assert (lost.status, lost.body["error"]["type"]) == (500, "InternalServerError")
    assert (await client.post("/finish_weight_update", {})).status == 500, "the failure ended the update"
    await client.post("/start_weight_update", {})
    reply = await client.post("/update_weights", {"update_info": {"path": str(other / "model.safetensors")}})
    assert reply.status == 200
    assert (await client.post("/finish_weight_update", {})).status == 200
    await client.post("/reset_prefix_cache")
    assert (await sample(client, LONG_PROMPT)).is_from(other)


def in_two_files(folder: Path, target: Path, *, whole_layers: bool = False) -> list[Path]:
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    early = [name for name in names if ".layers.0." in name] if whole_layers else names[::2]
    parts = []
    for number, chosen in enumerate((early, [name for name in names if name not in early])):
        parts.append(target / f"{number}.safetensors")
        save_file({name: state[name] for name in chosen}, parts[-1])
    return parts


async def test_a_reload_that_failed_is_repaired_by_one_that_does_not(
    server: Server, other: Path, tmp_path: Path
) -> None:
    body = {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}}
    reply = await server.client.post("/collective_rpc", body)
    assert (reply.status, reply.body["error"]["type"]) == (500, "InternalServerError")
    await reload(server.client, other)
    assert (await sample(server.client, PROMPT)).is_from(other)


async def test_an_update_that_brings_some_parameters_leaves_the_others_as_they_were(
    server: Server, other: Path, tmp_path: Path
) -> None:
    client = server.client
    first, second = in_two_files(other, tmp_path, whole_layers=True)
    await client.post("/init_weight_transfer_engine", {"init_info": {}})
    for part, finished in ((first, False), (second, True)):
        await client.post("/start_weight_update", {})
        await client.post("/update_weights", {"update_info": {"path": str(part)}})
        assert (await client.post("/finish_weight_update", {})).status == 200
        assert (await sample(client, PROMPT)).is_from(other) is finished


@pytest.mark.parametrize("salted", [False, True])
async def test_an_adapter_is_served_under_its_name_replaced_in_place_and_forgotten(
    server: Server, tmp_path: Path, salted: bool
) -> None:
    client = server.client
    first, second = make_adapter(tmp_path / "first", seed=1), make_adapter(tmp_path / "second", seed=2)
    fields = {"cache_salt": "a"} if salted else {}
    load = "/v1/load_lora_adapter"
    reply = await client.post(load, {"lora_name": "fine", "lora_path": str(first)})
    assert (reply.status, reply.body) == (200, "Success: LoRA adapter 'fine' added successfully.")
    cards = (await client.get("/v1/models")).body["data"]
    assert [(card["id"], card["parent"], card["max_model_len"]) for card in cards] == [
        (MODEL, None, 512),
        ("fine", MODEL, None),
    ]
    answer = await sample(client, LONG_PROMPT, model="fine", **fields)
    assert is_from_adapter(server.folder, first, LONG_PROMPT, answer.token_ids, answer.logprobs)
    assert (await sample(client, LONG_PROMPT, **fields)).is_from(server.folder)

    again = await client.post(load, {"lora_name": "fine", "lora_path": str(second)})
    assert (again.status, again.body["error"]["type"]) == (400, "InvalidUserInput")
    in_place = {"lora_name": "fine", "lora_path": str(second), "load_inplace": True}
    assert (await client.post(load, in_place)).status == 200
    answer = await sample(client, LONG_PROMPT, model="fine", **fields)
    assert is_from_adapter(server.folder, second, LONG_PROMPT, answer.token_ids, answer.logprobs)

    reply = await client.post("/v1/unload_lora_adapter", {"lora_name": "fine"})
    assert (reply.status, reply.body) == (200, "Success: LoRA adapter 'fine' removed successfully.")
    gone = await client.post(COMPLETIONS, {"model": "fine", "prompt": PROMPT})
    assert (gone.status, gone.body["error"]["type"]) == (404, "NotFoundError")


async def test_an_interrupted_update_is_taken_back_by_the_worker_extension(server: Server) -> None:
    client = server.client
    await client.post("/init_weight_transfer_engine", {"init_info": {}})
    await client.post("/start_weight_update", {})
    reply = await client.post("/collective_rpc", {"method": "agentenv_abandon_weight_update"})
    assert reply.status == 200
    assert int(reply.body["results"][0]) > 0, "layers were waiting for their weights"
    assert (await sample(client, PROMPT)).is_from(server.folder)


async def test_the_worker_extension_says_what_weights_there_are(server: Server, other: Path) -> None:
    async def fingerprint() -> Json:
        (found,) = (await server.client.post("/collective_rpc", {"method": "agentenv_weight_fingerprint"})).body[
            "results"
        ]
        plain: Json = {name.replace(".base_layer", ""): each for name, each in found.items()}
        return plain

    before = await fingerprint()
    assert "model.layers.0.self_attn.qkv_proj.weight" in before  # its bytes can be read on a GPU, and in the fake
    assert before["model.embed_tokens.weight"]["shape"] == [512, 128]
    assert {each["dtype"] for each in before.values()} == {"float32"}
    await reload(server.client, other)
    after = await fingerprint()
    assert after.keys() == before.keys()
    assert after["model.embed_tokens.weight"]["mark"] != before["model.embed_tokens.weight"]["mark"]


async def test_sampling_in_the_middle_of_an_update_kills_the_engine(server: Server) -> None:
    client = server.client
    await client.post("/init_weight_transfer_engine", {"init_info": {}})
    await client.post("/pause?mode=abort")
    await client.post("/start_weight_update", {})
    request = asyncio.create_task(client.post(COMPLETIONS, SHORT))
    assert await is_waiting(request), "while it is paused nothing is sampled"
    await client.post("/resume")
    reply = await request
    assert (reply.status, reply.body["error"]["type"]) == (500, "InternalServerError")
