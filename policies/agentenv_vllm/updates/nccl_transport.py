"""Tensors from the learner's GPU to the server's by vLLM's `nccl` backend, the learner being rank 0.

Written against the sources of 0.16 to 0.32; tried only where a GPU is (`tests/vllm/test_updates_nccl.py`). Tensors are
broadcast one by one: that is what a server expects that is told nothing, in every release, while the flag of the packed
broadcast moved from the update's payload to that of the handshake in 0.28.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from agentenv.errors import ConfigError
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import WeightUpdateError
from agentenv_vllm.updates.paused import Weights
from agentenv_vllm.updates.transfer import Transport
from agentenv_vllm.worker import TransferBackend

if TYPE_CHECKING:
    import torch

JOIN_SECONDS = 300.0
Result = TypeVar("Result")


class NCCLTransport(Transport):
    """GPU to GPU, across machines too. The learner's Python needs `vllm`, whose NCCL communicator is used.

    Args:
        host: this machine's address as the server's workers reach it.
        port: for the meeting of the ranks; by default any free one, which then must not be behind a firewall.
        device: the learner's GPU.
    """

    backend = TransferBackend.NCCL

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, device: str = "cuda:0") -> None:
        self._host = host
        self._port = port
        self._device = device
        self._group: Any = None

    async def open(self, api: VLLMApi) -> None:
        """Meets the server's workers. Each side waits for the other, so both are asked at once."""
        ranks = 1 + await api.world_size(include_dp=True)
        port = self._port or _free_port(self._host)
        info = {"master_address": self._host, "master_port": port, "rank_offset": 1, "world_size": ranks}
        joining = _in_daemon_thread(lambda: _join(self._host, port, ranks, self._device))
        try:
            await api.init_weight_transfer_engine(info, timeout=JOIN_SECONDS)
            self._group = await asyncio.wait_for(joining, JOIN_SECONDS)
        finally:
            joining.cancel()

    async def write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        return Weights(tensors={name: tensor.detach() for name, tensor in tensors.items()})

    async def send(self, api: VLLMApi, weights: Weights, *, timeout: float) -> None:
        """Broadcasts while the workers receive. A broadcast that nobody receives never ends; `reset` aborts it."""
        tensors = weights.tensors
        info = {
            "names": list(tensors),
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
            "shapes": [list(tensor.shape) for tensor in tensors.values()],
        }
        group, device = self._group, self._device
        sending = _in_daemon_thread(lambda: _broadcast(group, tensors, device))
        receiving = asyncio.ensure_future(api.update_weights(info, timeout=timeout))
        try:
            done, _ = await asyncio.wait({sending, receiving}, timeout=timeout, return_when=asyncio.FIRST_EXCEPTION)
            if len(done) < 2 and not any(future.exception() for future in done):
                raise WeightUpdateError(f"the broadcast was not received in {timeout:g} s")
            for future in done:
                future.result()
        finally:
            receiving.cancel()
            sending.cancel()

    async def reset(self) -> None:
        await self.close()

    async def close(self) -> None:
        group, self._group = self._group, None
        destroy = getattr(group, "destroy", None)
        if destroy is not None:
            await asyncio.to_thread(destroy)


def _join(host: str, port: int, ranks: int, device: str) -> Any:
    import torch

    try:
        from vllm.distributed.device_communicators.pynccl import PyNcclCommunicator
        from vllm.distributed.utils import StatelessProcessGroup
    except ImportError as error:
        raise ConfigError(f"weights by nccl need vllm in the learner's Python ({error}): pip install vllm") from error
    torch.cuda.set_device(device)
    group = StatelessProcessGroup.create(host=host, port=port, rank=0, world_size=ranks)
    return PyNcclCommunicator(group, device=torch.device(device))


def _broadcast(group: Any, tensors: Mapping[str, torch.Tensor], device: str) -> None:
    import torch

    torch.cuda.set_device(device)
    stream = torch.cuda.current_stream()
    for tensor in tensors.values():
        # Referenced until the copy is enqueued: NCCL reads from the address alone.
        sent = tensor.to(device).contiguous()
        group.broadcast(sent, src=0, stream=stream)
    stream.synchronize()


def _in_daemon_thread(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """The work's outcome. Its thread may hang for good without keeping the process from ending."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="agentenv-nccl", daemon=True).start()
    return outcome


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
