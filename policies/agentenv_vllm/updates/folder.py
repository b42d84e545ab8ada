"""Weights through a folder in `save_pretrained` layout that the server reloads: any device, any number of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerRefusedError
from agentenv_vllm.updates.base import UpdateSettings
from agentenv_vllm.updates.files import UpdateFolders, model_files
from agentenv_vllm.updates.paused import PausedUpdater, Weights

if TYPE_CHECKING:
    import torch

FILE_NAME = "model.safetensors"


class FolderUpdater(PausedUpdater):
    """Writes each update to a folder and has every worker `reload_weights` from it (vLLM 0.16 and newer).

    The folders hold the tokenizer and configuration too, so a server can be started from any of them.

    Args:
        folders: where they go; by default a temporary folder. The server must see it under the same path.
    """

    def __init__(
        self,
        api: VLLMApi,
        model_folder: str | Path,
        model_name: str,
        settings: UpdateSettings | None = None,
        *,
        folders: UpdateFolders | None = None,
    ) -> None:
        super().__init__(api, model_folder, model_name, settings)
        self._folders = folders or UpdateFolders()

    @property
    def needs(self) -> Mapping[str, str]:
        how = "vLLM 0.16 or newer, started with VLLM_SERVER_DEV_MODE=1"
        # The world size is not asked for; it came with the release whose `reload_weights` takes a path.
        return {**super().needs, "/collective_rpc": how, "/get_world_size": how}

    async def close(self) -> None:
        await asyncio.to_thread(self._folders.close)

    async def _write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        beside = model_files(self._model_folder)
        folder = await asyncio.to_thread(self._folders.write, version, tensors, file_name=FILE_NAME, beside=beside)
        return Weights(folder / FILE_NAME)

    async def _send(self, weights: Weights) -> None:
        assert weights.file is not None
        await self._api.collective_rpc(
            "reload_weights", kwargs={"weights_path": str(weights.file.parent)}, timeout=self.settings.timeout
        )

    async def _clean_by_routes(self, weights: Weights) -> None:
        """A reload takes up what the failed one had brought and mixes the two, but leaves nothing behind."""
        try:
            await self._send(weights)
        except ServerRefusedError:
            return

    async def _served(self, parcel: Weights) -> None:
        await asyncio.to_thread(self._folders.prune)
