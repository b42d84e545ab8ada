"""Weights as a LoRA adapter that the server loads while it serves: each version under a name of its own.

No pause, no half-updated weights: requests under way are finished by the adapter they began with, and new ones ask for
the new name. Replacing an adapter under one name (`load_inplace`) looks simpler and is a trap, as seen with 0.32: every
request carries the path it was sent with, so one that was under way puts the old adapter back for all; the adapter is
read from the disk again for every batch; and the engine dies when the folder is gone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv.errors import ConfigError
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerError, ServerRefusedError, WeightUpdateError
from agentenv_vllm.updates.base import Checked, UpdateSettings, WeightUpdater
from agentenv_vllm.updates.files import UpdateFolders, to_json
from agentenv_vllm.updates.layout import ModelLayout, WeightsMisfitError
from agentenv_vllm.versions import InFlight

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
"""What peft puts before the base model's names."""

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_NAME = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.(?!weight$)[^.]+)?\.weight")


@dataclass(frozen=True, slots=True)
class LoRAShape:
    """What kind of adapter is published: W + (alpha / rank) · B · A for the target modules of every layer."""

    rank: int = 8
    alpha: float = 16.0
    target_modules: tuple[str, ...] = ALL_LINEAR

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not self.target_modules:
            raise ConfigError(f"a LoRA adapter has rank ≥ 1, alpha > 0 and target modules, got {self}")

    def config(self, base: Path) -> str:
        """The adapter's `adapter_config.json`, as peft writes it."""
        return to_json(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": str(base),
                "r": self.rank,
                "lora_alpha": self.alpha,
                "target_modules": list(self.target_modules),
                "bias": "none",
                "inference_mode": True,
            }
        )


@dataclass(frozen=True, slots=True)
class Adapter:
    """A version ready to be loaded: its name and folder."""

    name: str
    folder: Path


class LoRAUpdater(WeightUpdater[Adapter]):
    """Publishes adapters; `publish` takes an adapter's tensors as peft names them, and nothing else.

    Until the first one requests go to the base model. Give the server `--max-loras 2` or more: with one slot, the
    requests of a new version wait until those of the old one are done.

    Args:
        shape: of the adapters; all must have it.
        folders: where they go; by default a temporary folder. The server must see it under the same path.
        keep: how many versions stay loadable. A folder is removed only when no request of it is left.
    """

    def __init__(
        self,
        api: VLLMApi,
        model_folder: str | Path,
        model_name: str,
        settings: UpdateSettings | None = None,
        *,
        shape: LoRAShape | None = None,
        folders: UpdateFolders | None = None,
        keep: int = 2,
    ) -> None:
        super().__init__(api, model_folder, model_name, settings)
        self.shape = shape or LoRAShape()
        self._layout = ModelLayout.read(model_folder)
        self._folders = folders or UpdateFolders()
        self._keep = keep
        self._adapters: list[Adapter] = []
        self._retired: list[Adapter] = []

    @property
    def needs(self) -> Mapping[str, str]:
        how = "started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
        return {"/v1/load_lora_adapter": how, "/v1/unload_lora_adapter": how}

    @property
    def model_name(self) -> str:
        return self._adapters[-1].name if self._adapters else self._model_name

    @property
    def in_flight(self) -> InFlight:
        return InFlight.UNTOUCHED

    async def close(self) -> None:
        """Unloads the adapters. Their folders stay if a place was given for them."""
        for adapter in self._adapters:
            try:
                await self._api.unload_lora_adapter(adapter.name)
            except ServerError:
                break
        await asyncio.to_thread(self._folders.close)

    async def _begin(self) -> None:
        self._adapters.clear()
        ours = re.compile(re.escape(self._model_name) + r"-\d{8}(-\d+)?")
        for left_over in [row.id for row in await self._api.models() if ours.fullmatch(row.id)]:
            await self._api.unload_lora_adapter(left_over)
        if "/is_paused" in self._routes and await self._api.is_paused():
            raise WeightUpdateError(
                f"{self._api.root} is paused: its base weights may be half updated, which no adapter mends. Restart it."
            )

    async def _stage(self, weights: Mapping[str, torch.Tensor], version: int) -> Adapter:
        tensors = await asyncio.to_thread(fit, weights, self._layout, self.shape)
        texts = {"adapter_config.json": self.shape.config(self._model_folder)}
        folder = await asyncio.to_thread(
            self._folders.write, version, tensors, file_name="adapter_model.safetensors", texts=texts
        )
        return Adapter(f"{self._model_name}-{folder.name}", folder)

    async def _attempt(self, parcel: Adapter, version: int) -> Checked:
        self._doing = "loading the adapter"
        limit = self.settings.timeout
        try:
            await self._api.load_lora_adapter(parcel.name, str(parcel.folder), load_inplace=False, timeout=limit)
        except ServerRefusedError:
            if not await self._listed(parcel):  # a send before this one may have been heard
                raise
        self._doing = "looking for the adapter among the server's models"
        if not await self._listed(parcel):
            raise WeightUpdateError(f"the server does not list {parcel.name} from {parcel.folder}")
        self._adapters.append(parcel)
        return Checked()

    async def _listed(self, adapter: Adapter) -> bool:
        rows = await self._api.models()
        return any(row.id == adapter.name and row.root == str(adapter.folder) for row in rows)

    async def _served(self, parcel: Adapter) -> None:
        """Unloads the oldest, and removes folders that no request can need: a batch may read its adapter again."""
        while len(self._adapters) > self._keep:
            old = self._adapters.pop(0)
            try:
                await self._api.unload_lora_adapter(old.name)
            except ServerRefusedError:
                continue
            self._retired.append(old)
        if self._retired:
            busy = await self._busy()
            gone = [adapter for adapter in self._retired if adapter.name not in busy]
            for adapter in gone:
                await asyncio.to_thread(self._folders.discard, adapter.folder)
            self._retired = [adapter for adapter in self._retired if adapter not in gone]

    async def _busy(self) -> frozenset[str]:
        """Names of adapters that requests run or wait with; all that could be, where the server does not tell."""
        reply = await self._api.send("GET", "/metrics")
        found = running_adapters(reply.body) if isinstance(reply.body, str) else None
        return frozenset(adapter.name for adapter in self._retired) if found is None else found


def fit(weights: Mapping[str, torch.Tensor], layout: ModelLayout, shape: LoRAShape) -> dict[str, torch.Tensor]:
    """An adapter's tensors under the names peft saves them by.

    `weights` may also be named as in a peft model's state dict, `….lora_A.default.weight`.

    Raises:
        WeightsMisfitError: a matrix of a target module is missing, unknown, of another shape, or not finite.
    """
    import torch

    found: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise WeightsMisfitError(f"{name} is no matrix of a LoRA adapter: publish those alone (peft's names)")
        found[f"{match['module']}.lora_{match['side']}.weight"] = tensor.detach()
    fitting = {}
    for module, (rows, columns) in _targets(layout, shape).items():
        for side, size in (("A", (shape.rank, columns)), ("B", (rows, shape.rank))):
            name = f"{module}.lora_{side}.weight"
            taken = found.pop(name, None)
            if taken is None:
                raise WeightsMisfitError(f"{name} is missing: publish both matrices of every target module")
            if tuple(taken.shape) != size:
                raise WeightsMisfitError(f"{name} has shape {tuple(taken.shape)}, but the served model needs {size}")
            if not taken.is_floating_point() or not bool(torch.isfinite(taken).all()):
                raise WeightsMisfitError(f"{name} holds NaN, infinity, or no floating-point numbers")
            fitting[PREFIX + name] = taken
    if found:
        raise WeightsMisfitError(f"{next(iter(found))} is of no target module ({', '.join(shape.target_modules)})")
    return fitting


def running_adapters(metrics: str) -> frozenset[str] | None:
    """Adapters that requests run or wait with, of `/metrics`: in the row of `lora_requests_info` that is the newest.

    >>> row = 'vllm:lora_requests_info{max_lora="1",running_lora_adapters="%s",waiting_lora_adapters="%s"} %s'
    >>> sorted(running_adapters("\\n".join([row % ("a", "b", "1.5e+09"), row % ("c,d", "", "1.7e+09")])))
    ['c', 'd']
    """
    pattern = r'^vllm:lora_requests_info\{.*running_lora_adapters="([^"]*)",waiting_lora_adapters="([^"]*)".*\} (\S+)$'
    rows = re.findall(pattern, metrics, re.MULTILINE)
    if not rows:
        return None
    running, waiting, _ = max(rows, key=lambda row: float(row[2]))
    return frozenset(name for name in f"{running},{waiting}".split(",") if name)


def _targets(layout: ModelLayout, shape: LoRAShape) -> dict[str, tuple[int, int]]:
    """The base model's matrices that are adapted, and their sizes."""
    targets = {}
    for name, size in layout.sizes.items():
        module, _, kind = name.rpartition(".")
        if kind == "weight" and len(size) == 2 and module.rpartition(".")[2] in shape.target_modules:
            targets[module] = (size[0], size[1])
    if not targets:
        raise ConfigError(f"the model has none of the target modules {', '.join(shape.target_modules)}")
    return targets
