"""A weight update that fails is repaired or ends with one clear error, and half-updated weights never answer.

A proxy in front of the real server makes requests fail, vanish, hang, or do half of what they should.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web
from safetensors.torch import save_file

from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.errors import MissingCapabilityError, ServerDiedError, WeightUpdateError
from agentenv_vllm.updates import LoRAUpdater, UpdateSettings, WeightUpdater, make_updater
from agentenv_vllm.updates.files import model_files
from tests.support.real_vllm import RealVLLM
from tests.vllm.updates_lab import (
    Fault,
    FaultyProxy,
    Passage,
    State,
    adapter_weights,
    cut,
    done_and_denied,
    faulty_proxy,
    greedy,
    hang,
    ignore,
    other_weights,
    refuse,
    routes_of,
    weights_of,
)

SENDING = {"folder": "/collective_rpc", "transfer": "/update_weights"}
FINGERPRINT = "agentenv_weight_fingerprint"


@dataclass
class Bench:
    """An updater that reaches the server through the proxy, and a client that does not."""

    proxy: FaultyProxy
    direct: VLLMApi
    updater: WeightUpdater[Any]
    server: RealVLLM

    async def publish_and_check(self, seed: int = 21) -> int:
        """Publishes; the server must then answer as one that took the weights without any fault. Returns the sends."""
        weights = other_weights(self.server.folder, seed)
        report = await self.updater.publish(weights, seed)
        await self.check(weights, seed)
        return report.sends

    async def check(self, weights: State, version: int) -> None:
        assert not await self.direct.is_paused()
        assert not self.updater.half_updated
        assert self.updater.version == version
        assert await self.direct.weight_version() == str(version)
        answer = await greedy(self.direct)
        clean = make_updater("folder", self.direct, self.server.folder, self.server.model_name)
        await clean.start(await routes_of(self.direct))  # finds other weights than the folder's, and sends those
        await clean.publish(weights, version)
        assert answer == await greedy(self.direct)
        await clean.close()


@asynccontextmanager
async def bench(server: RealVLLM, way: str, **settings: Any) -> AsyncIterator[Bench]:
    async with faulty_proxy(server.root_url) as proxy, VLLMApi(proxy.base_url) as api, server.api() as direct:
        updater = make_updater(way, api, server.folder, server.model_name)
        updater.settings = UpdateSettings(**settings)
        await updater.start(await routes_of(direct))
        proxy.seen.clear()
        try:
            yield Bench(proxy, direct, updater, server)
        finally:
            proxy.faults.clear()
            proxy.always.clear()
            await updater.publish(weights_of(server.folder), 0)
            await updater.close()


PHASES = {
    "folder": ["/pause", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version", "/resume"],
    "transfer": ["/start_weight_update", "/update_weights", "/finish_weight_update"],
}


@pytest.mark.parametrize("fault", [refuse, done_and_denied, cut], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize(("way", "path"), [(way, path) for way, paths in PHASES.items() for path in paths])
async def test_a_fault_in_any_phase_is_repaired_by_a_full_resend(
    real_vllm: RealVLLM, way: str, path: str, fault: Fault
) -> None:
    async with bench(real_vllm, way) as test:
        test.proxy.plan(path, fault)
        assert await test.publish_and_check() == 2
        assert test.proxy.faults[path] == []


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_an_update_that_broke_off_inside_the_workers_is_taken_back_and_sent_again(
    real_vllm: RealVLLM, way: str, tmp_path: Path
) -> None:
    async with bench(real_vllm, way) as test:
        broken = half_a_model(real_vllm.folder, tmp_path)

        async def half(passage: Passage) -> web.StreamResponse:
            reply = await passage.forward(lambda body: redirected(body, broken))
            assert reply.status == 500
            return reply

        test.proxy.plan(SENDING[way], half)
        assert await test.publish_and_check() == 2


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_a_server_that_holds_something_else_than_was_sent_is_found_out_before_it_answers(
    real_vllm: RealVLLM, way: str, tmp_path: Path
) -> None:
    stale = {**other_weights(real_vllm.folder, 21)}
    name = "model.layers.1.mlp.down_proj.weight"
    stale[name] = weights_of(real_vllm.folder)[name]
    folder = model_with(stale, real_vllm.folder, tmp_path)

    async def other(passage: Passage) -> web.StreamResponse:
        return await passage.forward(lambda body: redirected(body, folder))

    async with bench(real_vllm, way) as test:
        test.proxy.plan(SENDING[way], other)
        assert await test.publish_and_check() == 2
        assert test.proxy.seen.count("/resume") == 1


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_a_send_that_says_it_succeeded_and_did_nothing_is_found_out(real_vllm: RealVLLM, way: str) -> None:
    async with bench(real_vllm, way) as test:
        test.proxy.plan(SENDING[way], ignore)
        assert await test.publish_and_check() == 2


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_a_fault_that_stays_ends_in_one_error_with_the_server_paused_until_it_is_repaired(
    real_vllm: RealVLLM, way: str, tmp_path: Path
) -> None:
    broken = half_a_model(real_vllm.folder, tmp_path)

    async def half(passage: Passage) -> web.StreamResponse:
        return await passage.forward(lambda body: redirected(body, broken))

    async with bench(real_vllm, way, sends=2) as test:
        test.proxy.always[SENDING[way]] = half
        weights = other_weights(real_vllm.folder, 22)
        with pytest.raises(WeightUpdateError, match=r"failed 2 times: sending the weights.*neither.*is paused.*repair"):
            await test.updater.publish(weights, 22)
        assert test.updater.half_updated
        assert "/resume" not in test.proxy.seen
        assert await test.direct.is_paused()
        request = asyncio.create_task(greedy(test.direct))
        done, _ = await asyncio.wait({request}, timeout=0.3)
        assert not done

        test.proxy.always.clear()
        assert (await test.updater.repair()).version == 22
        assert (await request).ids == (await greedy(test.direct)).ids
        await test.check(weights, 22)


async def test_a_pause_that_never_succeeds_leaves_the_old_weights_serving(real_vllm: RealVLLM) -> None:
    async with bench(real_vllm, "folder", sends=2) as test:
        before = await greedy(test.direct)
        test.proxy.always["/pause"] = done_and_denied
        with pytest.raises(WeightUpdateError, match=r"pausing generation.*not touched: it serves version 0"):
            await test.updater.publish(other_weights(real_vllm.folder, 23), 23)
        assert not test.updater.half_updated
        assert not await test.direct.is_paused()
        assert await greedy(test.direct) == before


async def test_a_phase_that_hangs_is_given_up_in_time_and_sent_again(real_vllm: RealVLLM) -> None:
    async with bench(real_vllm, "transfer", timeout=2.0) as test:
        test.proxy.plan("/update_weights", hang)
        assert await test.publish_and_check() == 2


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_an_update_cancelled_while_it_is_sent_stays_paused_until_the_next_one(
    real_vllm: RealVLLM, way: str
) -> None:
    async with bench(real_vllm, way) as test:
        reached = asyncio.Event()

        async def reach_and_hang(passage: Passage) -> web.StreamResponse:
            reached.set()
            return await hang(passage)

        test.proxy.plan(SENDING[way], reach_and_hang)
        task = asyncio.create_task(test.updater.publish(other_weights(real_vllm.folder, 24), 24))
        await asyncio.wait_for(reached.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert test.updater.half_updated
        assert await test.direct.is_paused()
        assert await test.publish_and_check(25) == 1


async def test_an_update_cancelled_before_it_is_sent_lets_the_server_go_on(real_vllm: RealVLLM) -> None:
    async with bench(real_vllm, "folder") as test:
        before = await greedy(test.direct)
        reached = asyncio.Event()

        async def reach_and_hang(passage: Passage) -> web.StreamResponse:
            await passage.forward()
            reached.set()
            return await hang(passage)

        test.proxy.plan("/pause", reach_and_hang)
        task = asyncio.create_task(test.updater.publish(other_weights(real_vllm.folder, 26), 26))
        await asyncio.wait_for(reached.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not test.updater.half_updated
        assert not await test.direct.is_paused()
        assert await greedy(test.direct) == before


async def test_a_dead_engine_ends_the_update_at_once(real_vllm: RealVLLM) -> None:
    async def dead(passage: Passage) -> web.StreamResponse:
        return web.Response(status=503)

    async with bench(real_vllm, "folder") as test:
        test.proxy.always |= {"/collective_rpc": refuse, "/health": dead}
        with pytest.raises(ServerDiedError, match=r"died in the update to version 27.*What failed first: sending"):
            await test.updater.publish(other_weights(real_vllm.folder, 27), 27)
        assert test.proxy.seen.count("/pause") == 1


async def test_a_server_that_cannot_say_what_it_holds_is_asked_for_an_answer(real_vllm: RealVLLM) -> None:
    """As older releases, and servers without our extension."""

    async def no_fingerprint(passage: Passage) -> web.StreamResponse:
        if FINGERPRINT.encode() in passage.body:
            return await refuse(passage)
        return await passage.forward()

    async def no_route(passage: Passage) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    async with faulty_proxy(real_vllm.root_url) as proxy, VLLMApi(proxy.base_url) as api, real_vllm.api() as direct:
        proxy.always |= {"/collective_rpc": no_fingerprint, "/weight_checker": no_route}
        updater = make_updater("transfer", api, real_vllm.folder, real_vllm.model_name)
        await updater.start(await routes_of(direct))
        test = Bench(proxy, direct, updater, real_vllm)
        proxy.plan("/update_weights", ignore)
        report = await updater.publish(other_weights(real_vllm.folder, 28), 28)
        assert (report.sends, report.verified) == (2, 0)
        await test.check(other_weights(real_vllm.folder, 28), 28)
        assert (await updater.publish(other_weights(real_vllm.folder, 28), 29)).sends == 1
        await updater.publish(weights_of(real_vllm.folder), 0)
        await updater.close()


@pytest.mark.parametrize("fault", [refuse, done_and_denied, cut], ids=lambda fault: fault.__name__)
async def test_an_adapter_that_was_not_loaded_at_first_is_loaded_in_the_end(real_vllm: RealVLLM, fault: Fault) -> None:
    async with faulty_proxy(real_vllm.root_url) as proxy, VLLMApi(proxy.base_url) as api, real_vllm.api() as direct:
        updater = LoRAUpdater(api, real_vllm.folder, real_vllm.model_name)
        await updater.start(await routes_of(direct))
        proxy.plan("/v1/load_lora_adapter", fault)
        adapter, _ = adapter_weights(real_vllm.folder, 1, updater.shape)
        await updater.publish(adapter, 1)
        assert (await greedy(direct, updater.model_name)).ids != (await greedy(direct)).ids
        await updater.close()


async def test_an_adapter_that_cannot_be_loaded_leaves_the_one_before_serving(real_vllm: RealVLLM) -> None:
    async with faulty_proxy(real_vllm.root_url) as proxy, VLLMApi(proxy.base_url) as api, real_vllm.api() as direct:
        updater = LoRAUpdater(api, real_vllm.folder, real_vllm.model_name)
        await updater.start(await routes_of(direct))
        await updater.publish(adapter_weights(real_vllm.folder, 1, updater.shape)[0], 1)
        before = await greedy(direct, updater.model_name)
        proxy.always["/v1/load_lora_adapter"] = refuse
        with pytest.raises(WeightUpdateError, match=r"loading the adapter.*not touched: it serves version 1"):
            await updater.publish(adapter_weights(real_vllm.folder, 2, updater.shape)[0], 2)
        assert (updater.model_name, updater.version) == ("tiny-00000001", 1)
        assert await greedy(direct, updater.model_name) == before
        await updater.close()


async def test_what_a_server_lacks_is_named_at_the_start(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        routes = await routes_of(api)
        for way, route, flag in (
            ("folder", "/collective_rpc", "VLLM_SERVER_DEV_MODE=1"),
            ("transfer", "/update_weights", "--weight-transfer-config"),
            ("lora", "/v1/load_lora_adapter", "--enable-lora"),
        ):
            updater = make_updater(way, api, real_vllm.folder, real_vllm.model_name)
            with pytest.raises(MissingCapabilityError, match=flag):
                await updater.start(routes - {route})
            await updater.close()


def redirected(body: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The request that sends weights, made to send those of another folder."""
    if body.get("method") == "reload_weights":
        return {**body, "kwargs": {"weights_path": str(folder)}}
    if "update_info" in body:
        return {"update_info": {"path": str(folder / "model.safetensors")}}
    return body


def half_a_model(folder: Path, into: Path) -> Path:
    """A model whose loading breaks off in the middle: one matrix has half of its rows."""
    weights = other_weights(folder, 99)
    name = "model.layers.1.self_attn.k_proj.weight"
    return model_with({**weights, name: torch.zeros(64, 128)}, folder, into)


def model_with(weights: State, folder: Path, into: Path) -> Path:
    for file in model_files(folder):
        (into / file.name).write_bytes(file.read_bytes())
    save_file(weights, into / "model.safetensors", {"format": "pt"})
    return into


@pytest.mark.parametrize("pause", [PauseMode.KEEP, PauseMode.ABORT])
async def test_no_request_is_answered_between_a_failed_send_and_the_resend(
    real_vllm: RealVLLM, pause: PauseMode
) -> None:
    async with bench(real_vllm, "transfer", pause=pause) as test:
        asked: list[asyncio.Task[Any]] = []

        async def ask_and_fail(passage: Passage) -> web.StreamResponse:
            await passage.forward()
            asked.append(asyncio.create_task(greedy(test.direct)))
            done, _ = await asyncio.wait(asked, timeout=0.3)
            assert not done
            return await refuse(passage)

        test.proxy.plan("/update_weights", ask_and_fail)
        await test.updater.publish(other_weights(real_vllm.folder, 30), 30)
        answer = await asked[0]
        if pause is PauseMode.ABORT:  # the second pause ends what queued after the first
            assert (answer.ids, answer.finish_reason) == ((), "abort")
        else:
            assert answer.ids == (await greedy(test.direct)).ids
