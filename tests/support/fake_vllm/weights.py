"""Weights of the fake: a state dict that updates change in part or whole, and LoRA adapters merged into copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

State = Mapping[str, torch.Tensor]


class WeightsFileError(Exception):
    """A file that cannot be read as weights of the served model."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A PEFT folder: low-rank products to be added to projections of the base model."""

    name: str
    path: str
    deltas: State

    def merged_into(self, base: State) -> dict[str, torch.Tensor]:
        """A copy of `base` with the adapter's products added: W + (alpha / r) B A, Hu et al. 2021, arXiv:2106.09685."""
        return {name: tensor + self.deltas[name] if name in self.deltas else tensor for name, tensor in base.items()}


def read_adapter(name: str, path: str) -> Adapter:
    """Raises WeightsFileError when `path` holds no adapter."""
    folder = Path(path)
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsFileError(f"No adapter found for {path}") from error
    scale = config["lora_alpha"] / config["r"]
    deltas = {}
    for key, down in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        root = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        deltas[f"{root}.weight"] = scale * tensors[key.replace("lora_A", "lora_B")] @ down
    return Adapter(name, path, deltas)


def read_state(path: Path) -> State:
    """A checkpoint folder or a safetensors file. Raises WeightsFileError."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        state: State = load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsFileError(f"Cannot find any model weights with `{path}`") from error
    return state


def updated(state: State, part: State) -> dict[str, torch.Tensor]:
    """`state` with the tensors of `part`. Raises WeightsFileError for names or shapes that are not the model's."""
    for name, tensor in part.items():
        if name not in state or state[name].shape != tensor.shape:
            expected = tuple(state[name].shape) if name in state else "no such parameter"
            raise WeightsFileError(f"{name} {tuple(tensor.shape)} does not fit the served model ({expected})")
    return {**state, **part}


FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Projections that vLLM keeps in one parameter."""


def with_holes(state: State, received: State) -> dict[str, torch.Tensor]:
    """What an update becomes that brought `received` alone.

    A parameter of which nothing came keeps its value. One of which some projections came is made anew, and what is
    missing of it is whatever lay in memory: zeros here.
    """
    made = dict(received)
    for name in received:
        for group in FUSED:
            projection = next((each for each in group if f".{each}." in name), None)
            for other in group if projection else ():
                sibling = name.replace(f".{projection}.", f".{other}.")
                made.setdefault(sibling, torch.zeros_like(state[sibling]))
    return made


def held(state: State) -> dict[str, torch.Tensor]:
    """The parameters as vLLM holds them: some projections in one matrix, under a name of its own."""
    fused: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        group = next((group for group in FUSED if any(f".{each}." in name for each in group)), None)
        if group is None:
            fused[name] = tensor
        elif f".{group[0]}." in name:
            parts = [state[name.replace(group[0], each)] for each in group]
            together = "qkv_proj" if len(group) == 3 else "gate_up_proj"
            fused[name.replace(group[0], together)] = torch.cat(parts)
    return fused


def digests(state: State) -> dict[str, str]:
    """SHA-256 of the bytes of each tensor."""
    return {
        name: hashlib.sha256(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in state.items()
    }
