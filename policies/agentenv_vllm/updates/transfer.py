"""Weights through vLLM's own weight-transfer protocol: two phases (0.16) or four (0.21), by the server's routes."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import MissingCapabilityError, ServerRefusedError
from agentenv_vllm.updates.base import UpdateSettings
from agentenv_vllm.updates.paused import PausedUpdater, Weights
from agentenv_vllm.worker import TransferBackend

if TYPE_CHECKING:
    import torch


class Transport(ABC):
    """How tensors travel from this process to the server's workers."""

    backend: TransferBackend

    async def open(self, api: VLLMApi) -> None:
        """Called once, and again after a failure. Raises `ServerRefusedError` when the server is not set up for it."""

    @abstractmethod
    async def write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        """Makes them ready to be sent; the server is not touched."""

    @abstractmethod
    async def send(self, api: VLLMApi, weights: Weights, *, timeout: float) -> None:
        """Gets all of them to the workers, by `/update_weights`."""

    async def served(self, weights: Weights) -> None:
        """Called when the update is served."""

    async def reset(self) -> None:
        """Called after a failed send: drops what it may have left in an unknown state."""

    async def close(self) -> None:
        """Frees everything."""


class TransferUpdater(PausedUpdater):
    """Sends updates by the weight-transfer protocol.

    Args:
        transport: `FileTransport()` or `NCCLTransport(...)`; the server must have been started with the same backend.
    """

    def __init__(
        self,
        api: VLLMApi,
        model_folder: str | Path,
        model_name: str,
        settings: UpdateSettings | None = None,
        *,
        transport: Transport,
    ) -> None:
        super().__init__(api, model_folder, model_name, settings)
        self._transport = transport
        self._opened = False

    @property
    def needs(self) -> Mapping[str, str]:
        how = "vLLM 0.16 or newer, started with --weight-transfer-config '{\"backend\": ...}'"
        return {**super().needs, "/init_weight_transfer_engine": how, "/update_weights": how}

    async def close(self) -> None:
        await self._transport.close()

    @property
    def _four_phases(self) -> bool:
        return "/start_weight_update" in self._routes and "/finish_weight_update" in self._routes

    async def _open(self) -> None:
        try:
            await self._transport.open(self._api)
        except ServerRefusedError as error:
            backend = self._transport.backend
            raise MissingCapabilityError(
                f"{self._api.root} does not take weights by {backend.value}: start it with "
                f'--weight-transfer-config \'{{"backend": "{backend.value}"}}\' (agentenv_vllm.worker). {error}'
            ) from error
        self._opened = True

    async def _write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        return await self._transport.write(tensors, version)

    async def _send(self, weights: Weights) -> None:
        limit = self.settings.timeout
        if not self._opened:
            await self._transport.open(self._api)
            self._opened = True
        if self._four_phases:
            # 0.21 refuses an empty body, later releases ignore it.
            await self._api.start_weight_update({"is_checkpoint_format": True}, timeout=limit)
        await self._transport.send(self._api, weights, timeout=limit)
        if self._four_phases:
            await self._api.finish_weight_update(timeout=limit)

    async def _clean(self, weights: Weights) -> None:
        await self._transport.reset()
        self._opened = False
        await super()._clean(weights)

    async def _clean_by_routes(self, weights: Weights) -> None:
        """Starts and finishes an update without weights: the finish throws away what is left of the failed one."""
        if not self._four_phases:
            return
        for step in (self._api.start_weight_update({"is_checkpoint_format": True}), self._api.finish_weight_update()):
            with contextlib.suppress(ServerRefusedError):
                await step

    async def _served(self, parcel: Weights) -> None:
        await self._transport.served(parcel)
        if parcel.file is None:
            self._last = None  # tensors of the learner, which goes on changing them
