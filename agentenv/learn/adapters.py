"""Low-rank adapters by peft: put into a model, taken out again as the ordinary weights they amount to.

A layer W with an adapter computes W x + (alpha / rank) · B A x. peft names its parts LAYER.base_layer.weight,
LAYER.lora_A.default.weight and LAYER.lora_B.default.weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from agentenv.errors import ConfigError, MissingExtraError
from agentenv.learn.config import LoraConfig

_BASE = ".base_layer"
_DOWN, _UP = ".lora_A.default.weight", ".lora_B.default.weight"


def add_adapters(model: Any, config: LoraConfig, seed: int) -> None:
    """Puts an adapter into each target layer, in place, and freezes all else; at first they change nothing.

    Args:
        seed: of A; B starts at zero.

    Raises:
        MissingExtraError: peft is not installed.
        ConfigError: a target that no linear layer is called by, or that is the head.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("learner.lora", "lora") from error
    targets = _targets(model, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wanted = peft.LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=targets
        )
        peft.inject_adapter_in_model(wanted, model)


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The base model, for a while."""
    adapted: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)


def merged(state: Mapping[str, torch.Tensor], config: LoraConfig) -> dict[str, torch.Tensor]:
    """The ordinary state dict that a model with adapters amounts to, from its own; the model stays as it is."""
    ordinary = {}
    for name, tensor in state.items():
        if _DOWN in name or _UP in name:
            continue
        layer, base, _ = name.partition(_BASE)
        if base and name.endswith(".weight"):
            change = state[layer + _UP] @ state[layer + _DOWN]
            tensor = tensor + change * (config.alpha / config.rank)
        ordinary[name.replace(_BASE, "")] = tensor
    return ordinary


def adapters_of(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The adapters alone, from the state dict of a model that has some."""
    return {name: tensor for name, tensor in state.items() if name.endswith((_DOWN, _UP))}


def _targets(model: Any, config: LoraConfig) -> list[str]:
    """The full names of the layers that get an adapter."""
    head = model.get_output_embeddings()
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]
    if config.targets is None:
        return linear
    known = {name.rpartition(".")[2] for name in linear}
    if unknown := [target for target in config.targets if target not in known]:
        raise ConfigError(
            f"learner.lora.targets: no linear layer but the head is called {unknown[0]!r}; "
            f"there are {', '.join(sorted(known))}"
        )
    return [name for name in linear if name.rpartition(".")[2] in config.targets]
