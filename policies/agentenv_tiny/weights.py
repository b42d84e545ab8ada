"""The weights of a Llama-format model, fused for a short forward pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agentenv_tiny.errors import WeightsError


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes that weights and caches must agree on, read from a Llama `config.json`."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    context: int
    vocabulary: int
    rope_theta: float
    norm_epsilon: float

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DecoderShape:
        """Read a Llama configuration of transformers 4 or 5; raises WeightsError for what is not served here."""
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        shape = cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            context=config["max_position_embeddings"],
            vocabulary=config["vocab_size"],
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            norm_epsilon=config["rms_norm_eps"],
        )
        plain = (
            config.get("model_type") == "llama"
            and config.get("num_key_value_heads", shape.heads) == shape.heads
            and config.get("head_dim") in (None, shape.head_size)
            and rope.get("rope_type", "default") == "default"
            and not (config.get("attention_bias") or config.get("mlp_bias"))
            and config.get("hidden_act") == "silu"
        )
        if not plain:
            raise WeightsError(
                "the embedded sampler serves plain Llama models (no grouped heads, biases or scaled rotary embedding): "
                "make one with agentenv_tiny.create_policy, or serve this model with vLLM"
            )
        return shape


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer: `query_key_value` is [3·hidden, hidden], `gate_up` is [2·intermediate, hidden]."""

    input_norm: torch.Tensor
    query_key_value: torch.Tensor
    attention_output: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """All weights of a model as private float32 copies: training may go on writing to the tensors they came from."""

    shape: DecoderShape
    embedding: torch.Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: torch.Tensor
    head: torch.Tensor

    @classmethod
    def from_state_dict(cls, state: Mapping[str, torch.Tensor], shape: DecoderShape) -> DecoderWeights:
        """Fuse a `LlamaForCausalLM.state_dict()`. Raises WeightsError naming the tensor that does not fit."""
        hidden, inner = shape.hidden, shape.intermediate

        def take(name: str, *size: int) -> torch.Tensor:
            tensor = state.get(name)
            if tensor is None:
                raise WeightsError(f"the weights lack {name}: give the whole state_dict of the model that is served")
            if tuple(tensor.shape) != size:
                raise WeightsError(f"{name} has shape {tuple(tensor.shape)}, but the served model needs {size}")
            copied = tensor.detach().to(device="cpu", dtype=torch.float32, copy=True)
            if not bool(torch.isfinite(copied).all()):
                raise WeightsError(
                    f"{name} holds NaN or infinite values: the update is refused, the old weights serve on"
                )
            return copied

        def layer(index: int) -> LayerWeights:
            root = f"model.layers.{index}."
            projections = [take(f"{root}self_attn.{name}_proj.weight", hidden, hidden) for name in "qkv"]
            gate, up = (take(f"{root}mlp.{name}_proj.weight", inner, hidden) for name in ("gate", "up"))
            return LayerWeights(
                input_norm=take(root + "input_layernorm.weight", hidden),
                query_key_value=torch.cat(projections),
                attention_output=take(root + "self_attn.o_proj.weight", hidden, hidden),
                mlp_norm=take(root + "post_attention_layernorm.weight", hidden),
                gate_up=torch.cat((gate, up)),
                down=take(root + "mlp.down_proj.weight", hidden, inner),
            )

        embedding = take("model.embed_tokens.weight", shape.vocabulary, hidden)
        tied = "lm_head.weight" not in state
        return cls(
            shape=shape,
            embedding=embedding,
            layers=tuple(layer(index) for index in range(shape.layers)),
            final_norm=take("model.norm.weight", hidden),
            head=embedding if tied else take("lm_head.weight", shape.vocabulary, hidden),
        )


def read_shape(folder: str | Path) -> DecoderShape:
    """The sizes in `folder/config.json`. Raises WeightsError when there is none."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"{folder} holds no model (config.json is missing): make one with agentenv_tiny.create_policy"
        )
    return DecoderShape.from_config(json.loads(path.read_text()))


def read_weights(folder: str | Path, shape: DecoderShape | None = None) -> DecoderWeights:
    """Read `folder/model.safetensors`; with `shape` given, refuse a model of another shape."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = read_shape(folder)
    if shape is not None and found != shape:
        raise WeightsError(f"the model in {folder} has {found}, but {shape} is served: start a new server for it")
    path = Path(folder) / "model.safetensors"
    try:
        state = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}): save the model again") from error
    return DecoderWeights.from_state_dict(state, found)
