"""What the models give by themselves: transformers' forward pass, and adapters merged by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from agentenv_tiny import load_policy

SIZES = {
    "self_attn.q_proj": (128, 128),
    "self_attn.v_proj": (128, 128),
    "self_attn.o_proj": (128, 128),
    "mlp.gate_proj": (128, 384),
    "mlp.down_proj": (384, 128),
}
"""(inputs, outputs) of the projections an adapter changes."""

RANK, ALPHA = 4, 8

TOLERANCE = 1e-3
"""Four hundred tokens on, rounding has added up; another model is off by ten thousand times as much."""


@cache
def model(folder: Path) -> Any:
    """The model in `folder`, as transformers runs it."""
    return load_policy(folder).model


def logprobs(folder: Path, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities [sampled, vocabulary] of what follows the prompt."""
    return _logprobs(model(folder), prompt_ids, token_ids)


def _logprobs(of: Any, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = of(torch.tensor([[*prompt_ids, *token_ids]])).logits[0]
    found: torch.Tensor = logits[len(prompt_ids) - 1 : -1].log_softmax(-1)
    return found


def is_from(folder: Path, prompt_ids: Sequence[int], token_ids: Sequence[int], reported: Sequence[float]) -> bool:
    """Whether `reported` are this model's log-probabilities of these tokens."""
    return agreeing(folder, prompt_ids, token_ids, reported) == len(token_ids)


def agreeing(folder: Path, prompt_ids: Sequence[int], token_ids: Sequence[int], reported: Sequence[float]) -> int:
    """How many tokens, from the first on, have the log-probabilities that this model gives them."""
    return _agreeing(logprobs(folder, prompt_ids, token_ids), token_ids, reported)


def is_from_adapter(
    folder: Path, adapter: Path, prompt_ids: Sequence[int], token_ids: Sequence[int], reported: Sequence[float]
) -> bool:
    """The same with the adapter's products added to the weights."""
    merged, tensors = deepcopy(model(folder)), load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in merged.named_parameters():
            key = f"base_model.model.{name.removesuffix('.weight')}"
            if f"{key}.lora_A.weight" in tensors:
                parameter += ALPHA / RANK * tensors[f"{key}.lora_B.weight"] @ tensors[f"{key}.lora_A.weight"]
    return _agreeing(_logprobs(merged, prompt_ids, token_ids), token_ids, reported) == len(token_ids)


def _agreeing(expected: torch.Tensor, token_ids: Sequence[int], reported: Sequence[float]) -> int:
    picked = expected.gather(1, torch.tensor(token_ids)[:, None])[:, 0]
    off = ((picked - torch.tensor(reported)).abs() >= TOLERANCE).nonzero()
    return int(off[0, 0]) if len(off) else len(token_ids)


def make_adapter(folder: Path, seed: int) -> Path:
    """A LoRA adapter in PEFT's layout, strong enough to be seen."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": sorted(name.rsplit(".", 1)[1] for name in SIZES),
        "base_model_name_or_path": "tiny",
        "bias": "none",
        "fan_in_fan_out": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    noise = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for name, (inputs, outputs) in SIZES.items():
            root = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{root}.lora_A.weight"] = torch.randn(RANK, inputs, generator=noise) * 0.2
            tensors[f"{root}.lora_B.weight"] = torch.randn(outputs, RANK, generator=noise) * 0.2
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder
