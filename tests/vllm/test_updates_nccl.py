"""The transport from GPU to GPU: what it tells the server, without a GPU; and the transfer, where there are two."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerRefusedError, WeightUpdateError
from agentenv_vllm.updates import NCCLTransport, TransferUpdater, nccl_transport
from agentenv_vllm.worker import TransferBackend
from tests.vllm.updates_lab import greedy, other_weights, routes_of

GPUS = torch.cuda.device_count() if importlib.util.find_spec("vllm") else 0
TENSORS = {"model.norm.weight": torch.ones(4), "lm_head.weight": torch.ones(6, 4, dtype=torch.bfloat16)}


class Group:
    """Stands in for the communicator."""

    def __init__(self) -> None:
        self.destroyed = False

    def destroy(self) -> None:
        self.destroyed = True


@asynccontextmanager
async def workers(answers: Mapping[str, int]) -> AsyncIterator[tuple[VLLMApi, list[tuple[str, Any]]]]:
    """A server with two workers that says what was asked, and answers with the given statuses."""
    heard: list[tuple[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append((request.path, await request.json() if request.can_read_body else None))
        return web.json_response({"world_size": 2}, status=answers.get(request.path, 200))

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with VLLMApi(f"http://127.0.0.1:{runner.addresses[0][1]}") as api:
            yield api, heard
    finally:
        await runner.cleanup()


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    made = Group()
    monkeypatch.setattr(nccl_transport, "_join", lambda *_: made)
    monkeypatch.setattr(nccl_transport, "_broadcast", lambda *_: None)
    return made


async def test_the_learner_is_rank_0_of_all_workers_and_one_and_no_release_hears_of_packing(group: Group) -> None:
    async with workers({}) as (api, heard):
        transport = NCCLTransport(port=29_511)
        await transport.open(api)
        await transport.send(api, await transport.write(TENSORS, 1), timeout=10.0)
        await transport.close()
    meeting = {"master_address": "127.0.0.1", "master_port": 29_511, "rank_offset": 1, "world_size": 3}
    tensors = {
        "names": ["model.norm.weight", "lm_head.weight"],
        "dtype_names": ["float32", "bfloat16"],
        "shapes": [[4], [6, 4]],
    }
    assert heard == [
        ("/get_world_size", None),
        ("/init_weight_transfer_engine", {"init_info": meeting}),
        ("/update_weights", {"update_info": tensors}),
    ]
    assert group.destroyed


async def test_a_server_that_refuses_the_meeting_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(nccl_transport, "_join", lambda *_: never.wait())
    async with workers({"/init_weight_transfer_engine": 500}) as (api, _):
        with pytest.raises(ServerRefusedError):
            await asyncio.wait_for(NCCLTransport(port=29_512).open(api), 10)
    never.set()


@pytest.mark.parametrize("status", [500, 200])
async def test_a_broadcast_that_is_not_received_is_given_up_and_its_group_destroyed(
    group: Group, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    never = threading.Event()
    monkeypatch.setattr(nccl_transport, "_broadcast", lambda *_: never.wait())
    async with workers({"/update_weights": status}) as (api, _):
        transport = NCCLTransport(port=29_513)
        await transport.open(api)
        with pytest.raises((ServerRefusedError, WeightUpdateError)):
            await transport.send(api, await transport.write(TENSORS, 1), timeout=0.5)
        await transport.reset()
    assert group.destroyed
    never.set()


@pytest.mark.skipif(GPUS < 2, reason="needs two GPUs and vllm in this Python: NCCL joins no two processes on one GPU")
@pytest.mark.slow
async def test_weights_reach_a_server_on_another_gpu(tmp_path: Path) -> None:
    from agentenv_tiny import create_policy
    from agentenv_vllm.options import ServerOptions
    from agentenv_vllm.process import ManagedServer

    folder = tmp_path / "start"
    create_policy(folder)
    options = ServerOptions(
        model_name="tiny", max_model_len=512, weight_transfer=TransferBackend.NCCL, env={"CUDA_VISIBLE_DEVICES": "1"}
    )
    async with ManagedServer(folder, options, log=tmp_path / "server.log") as server, VLLMApi(server.base_url) as api:
        updater = TransferUpdater(api, folder, "tiny", transport=NCCLTransport(device="cuda:0"))
        await updater.start(await routes_of(api))
        before = await greedy(api)
        weights = {name: tensor.cuda(0) for name, tensor in other_weights(folder, 1).items()}
        for version in (1, 2):
            report = await updater.publish(weights, version)
            assert (report.sends, report.unverified) == (1, 0)
        assert (await greedy(api)).ids != before.ids
        await updater.close()
