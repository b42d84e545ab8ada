"""Updates of all of a model's weights, made while generation is paused.

The phases: generation is paused, the tensors are sent, keys and values of the old weights are thrown away, what the
server holds is compared with what was sent, the version is stamped, generation goes on. Whatever fails after the first
tensor went out, the server stays paused until a full resend went through all phases, or for good.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.errors import ServerError, ServerRefusedError, WeightUpdateError
from agentenv_vllm.updates.base import Checked, UpdateSettings, WeightUpdater
from agentenv_vllm.updates.layout import ModelLayout
from agentenv_vllm.updates.verification import Expected, Verification

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("agentenv.policy.vllm")

PAUSE_SECONDS = 120.0
"""Longest wait for the step of the engine that is under way."""


@dataclass(slots=True)
class Weights:
    """An update ready to be sent: in a file, or in memory.

    Attributes:
        file: safetensors with all of them.
        tensors: them, where there is no file.
        expected: what the server must then be found to hold.
    """

    file: Path | None = None
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    expected: Expected = field(default_factory=Expected)


class PausedUpdater(WeightUpdater[Weights]):
    """What the backends that replace all weights share. A backend says how they are sent, and cleaned up after."""

    def __init__(
        self, api: VLLMApi, model_folder: str | Path, model_name: str, settings: UpdateSettings | None = None
    ) -> None:
        super().__init__(api, model_folder, model_name, settings)
        self._layout = ModelLayout.read(model_folder)
        self._touched = False
        self._verification = Verification(api, model_name, self._layout.dtypes)
        self._calibrating = False

    @property
    def needs(self) -> Mapping[str, str]:
        how = "vLLM 0.12 or newer, started with VLLM_SERVER_DEV_MODE=1"
        return dict.fromkeys(("/pause", "/resume", "/is_paused", "/reset_prefix_cache"), how)

    @property
    def half_updated(self) -> bool:
        return self._touched

    # --- what a backend adds ----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """What must be agreed on with the server before the first update."""

    @abstractmethod
    async def _write(self, tensors: Mapping[str, torch.Tensor], version: int) -> Weights:
        """Makes checked tensors ready to be sent."""

    @abstractmethod
    async def _send(self, weights: Weights) -> None:
        """Sends all of them. Until it returns, the server's weights are neither the old nor the new ones."""

    @abstractmethod
    async def _clean_by_routes(self, weights: Weights) -> None:
        """Ends an update that failed half way, on a server without our extension."""

    # --- the beginning ----------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        await self._open()
        paused = self._touched = await self._api.is_paused()
        model = await asyncio.to_thread(self._read_model)
        wrong = await self._verification.begin(model) if self.settings.verify else ()
        if paused or wrong:
            state = "is paused" if paused else f"holds other weights ({', '.join(wrong[:3])}, ...)"
            _LOG.warning("%s %s: it is sent those of %s", self._api.root, state, self._model_folder)
            self._calibrating = True
            try:
                await self._serve(await self._stage(model, 0), 0, 0.0)
            finally:
                self._calibrating = False
            return
        if self._stamps:
            await self._api.update_weight_version(str(self.version))
        if self.settings.verify and self._verification.blind:
            await self._verification.check_answer(await asyncio.to_thread(self._verification.expect, model))

    def _read_model(self) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        files = sorted(self._model_folder.glob("*.safetensors"))
        return {name: tensor for file in files for name, tensor in load_file(file).items()}

    # --- an update --------------------------------------------------------------------------------------------------

    async def _stage(self, weights: Mapping[str, torch.Tensor], version: int) -> Weights:
        fitting = await asyncio.to_thread(self._layout.fit, weights)
        staged = await self._write(fitting, version)
        if self.settings.verify:
            staged.expected = await asyncio.to_thread(self._verification.expect, fitting)
        return staged

    async def _attempt(self, parcel: Weights, version: int) -> Checked:
        limit = self.settings.timeout
        self._doing = "pausing generation"
        await self._api.pause(self.settings.pause, timeout=min(limit, PAUSE_SECONDS))
        if self._touched:
            self._doing = "taking back the failed update"
            async with asyncio.timeout(limit):
                await self._clean(parcel)
        self._doing = "sending the weights"
        self._touched = True
        async with asyncio.timeout(limit):
            await self._send(parcel)
        self._doing = "resetting the prefix cache"
        await self._reset_cache()
        self._doing = "comparing what the server holds with what was sent"
        async with asyncio.timeout(limit):
            checked = await self._verification.check(parcel.expected, calibrating=self._calibrating)
        self._doing = "stamping the version"
        await self._stamp(version)
        self._doing = "resuming generation"
        await self._resume()
        self._doing = "asking what is served now"
        await self._verification.check_answer(parcel.expected)
        self._touched = False
        return checked

    async def _clean(self, weights: Weights) -> None:
        """Brings the server into a state in which a full send works: what the failed one left makes it fail, too."""
        try:
            await self._api.collective_rpc("agentenv_abandon_weight_update")
        except ServerRefusedError:
            await self._clean_by_routes(weights)

    async def _reset_cache(self) -> None:
        """Keys and values of the old weights must not meet the new ones; requests in flight compute theirs again."""
        if not await self._api.reset_prefix_cache(reset_running_requests=True):
            raise WeightUpdateError("the server kept its prefix cache: something still holds blocks of it")

    @property
    def _stamps(self) -> bool:
        return "/update_weight_version" in self._routes

    async def _stamp(self, version: int) -> None:
        if self._stamps:
            await self._api.update_weight_version(str(version))

    async def _resume(self) -> None:
        await self._api.resume()
        if await self._api.is_paused():
            raise WeightUpdateError("the server says it is still paused")

    # --- when it fails ----------------------------------------------------------------------------------------------

    async def _let_go(self) -> bool:
        if self._touched:
            return False
        try:
            async with asyncio.timeout(30.0):
                await self._resume()
        except (ServerError, TimeoutError):
            return False
        return True

    async def _hold(self) -> bool:
        try:
            async with asyncio.timeout(60.0):
                await self._api.pause(PauseMode.ABORT)
                return await self._api.is_paused()
        except (ServerError, TimeoutError):
            return False
