"""Tensors through a file that the server's workers read: the transport `file` of `agentenv_vllm.worker`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.updates.files import UpdateFolders
from agentenv_vllm.updates.paused import Weights
from agentenv_vllm.updates.transfer import Transport
from agentenv_vllm.worker import TransferBackend

if TYPE_CHECKING:
    import torch

FILE_NAME = "weights.safetensors"


class FileTransport(Transport):
    """On any device, without a network between trainer and server but a folder that both see under the same path.

    Args:
        folders: where the files go; by default a temporary folder.
    """

    backend = TransferBackend.FILE

    def __init__(self, folders: UpdateFolders | None = None) -> None:
        self._folders = folders or UpdateFolders(keep=1)

    async def open(self, api: VLLMApi) -> None:
        await api.init_weight_transfer_engine({})

    async def write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        folder = await asyncio.to_thread(self._folders.write, version, tensors, file_name=FILE_NAME)
        return Weights(folder / FILE_NAME)

    async def send(self, api: VLLMApi, weights: Weights, *, timeout: float) -> None:
        await api.update_weights({"path": str(weights.file)}, timeout=timeout)

    async def served(self, weights: Weights) -> None:
        await asyncio.to_thread(self._folders.prune)

    async def close(self) -> None:
        await asyncio.to_thread(self._folders.close)
