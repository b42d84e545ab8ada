"""Imported by vLLM's worker processes, in vLLM's own interpreter: never import agentenv here.

Brings the weight-transfer engine `file` and methods that tell what a worker's weights are; both for any device. Written
against 0.32; where older releases differ (up to 0.2x the worker hands `load_weights` in, and drives the reload itself),
what the call brings decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

LoadWeights = Callable[[Iterable[tuple[str, torch.Tensor]]], Any]


@dataclass
class FileInitInfo(WeightTransferInitInfo):  # type: ignore[misc]
    """Nothing has to be agreed on before the first update."""


@dataclass
class FileUpdateInfo(WeightTransferUpdateInfo):  # type: ignore[misc]
    """One part of an update: a safetensors file with tensors named and shaped as in a checkpoint."""

    path: str = ""


class FileWeightTransferEngine(WeightTransferEngine[FileInitInfo, FileUpdateInfo]):  # type: ignore[misc]
    """Loads each part of an update from a file.

    Tensors go through vLLM's layerwise reload, as its own engines do it: a bare `load_weights` fails half way on a CPU.
    """

    init_info_cls = FileInitInfo
    update_info_cls = FileUpdateInfo

    def init_transfer_engine(self, init_info: FileInitInfo) -> None:
        del init_info

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: FileUpdateInfo, load_weights: LoadWeights | None = None) -> None:
        load = load_weights or self.model.load_weights
        if not Path(update_info.path).is_file():
            raise FileNotFoundError(f"the server cannot see the update's file {update_info.path}")
        with safe_open(update_info.path, framework="pt") as tensors:
            load((name, tensors.get_tensor(name)) for name in tensors.keys())  # noqa: SIM118

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing is held."""

    @staticmethod
    def trainer_send_weights(iterator: Any, trainer_args: Any) -> None:
        """Abstract in older releases; our trainer writes the files itself."""
        raise RuntimeError("agentenv_vllm.updates.transfer writes the files")


class WorkerExtension:
    """Methods added to every worker, called through `/collective_rpc`."""

    def agentenv_weight_fingerprint(self, sums: bool = False) -> dict[str, dict[str, Any]]:
        """Each parameter as it is held: `shape`, `dtype`, `mark` and `answer`.

        `mark` is a digest of its bytes: SHA-256 of those in a CPU's memory; of those in a GPU's, and with `sums` of
        all, what `agentenv_vllm.updates.fingerprint.sums` computes, for which they need not leave it.

        Kernels on a CPU keep a packed copy of a matrix that nothing can read, and leave the parameter empty or unused
        (`/weight_checker` is blind there). `answer` is what that kernel gives for `agentenv_vllm.updates.fingerprint`'s
        wave: one number per row, which only the right matrix gives.
        """
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        found = {}
        for name, parameter in model.named_parameters():
            held: dict[str, Any] = {"shape": list(parameter.shape), "dtype": str(parameter.dtype).split(".")[-1]}
            if parameter.numel():
                held["mark"] = _sha256(parameter) if parameter.device.type == "cpu" and not sums else _sums(parameter)
            module = model.get_submodule(name.rpartition(".")[0])
            if name.endswith(".weight") and hasattr(module, "cpu_linear"):
                held["answer"] = _answer(module, parameter)
            found[name] = held
        return found

    def agentenv_abandon_weight_update(self) -> int:
        """Takes back a weight update that failed half way; returns how many layers were waiting for weights.

        vLLM keeps what an interrupted update had brought for a layer and counts on from there, so that the next full
        update fails or mixes the two (0.32). Layers that had all their weights keep the new ones, the others get their
        old ones back: a full update must follow before anything is served.
        """
        from vllm.model_executor.model_loader.reload.layerwise import _place_kernel_tensors, get_layerwise_info

        waiting = 0
        for layer in self.model_runner.get_model().modules():  # type: ignore[attr-defined]
            info = get_layerwise_info(layer)
            if info.can_load():
                waiting += 1
                if info.kernel_tensors is not None:
                    _place_kernel_tensors(layer, info)
            info.reset()
        if getattr(self, "_weight_update_active", False):
            self._weight_update_active = False
        return waiting


def _sha256(tensor: torch.Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().data).hexdigest()


def _sums(tensor: torch.Tensor) -> str:
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    flat = tensor.detach().contiguous().view(-1).view(bits)
    plain = weighted = 0
    for start in range(0, len(flat), 2**24):
        part = flat[start : start + 2**24].to(torch.int64)
        place = torch.arange(start, start + len(part), device=part.device) % 65_521 + 1
        plain += int(part.sum())
        weighted += int((part * place).sum())
    return f"sums:{plain % 2**64}:{weighted % 2**64}"


@torch.inference_mode()
def _answer(module: Any, weight: torch.Tensor) -> list[float]:
    width = weight.shape[-1] if weight.numel() else module.input_size_per_partition
    wave = torch.cos(0.7 * torch.arange(width, dtype=torch.float64) + 0.3).to(weight.dtype)
    return list(map(float, module.cpu_linear(wave[None], weight, None)[0]))


WeightTransferEngineFactory.register_engine("file", FileWeightTransferEngine)
