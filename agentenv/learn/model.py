"""The model being trained: loading it, and its logits at the positions that matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from agentenv.errors import ConfigError
from agentenv.learn.adapters import add_adapters
from agentenv.learn.batches import Inputs
from agentenv.learn.config import LearnerConfig, Precision
from agentenv.learn.errors import LearnError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_model(folder: Path) -> PreTrainedModel:
    """The causal language model in `folder` (`save_pretrained` layout) in float32, ready to train.

    Raises:
        LearnError: `folder` holds no model.
    """
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise LearnError(f"{folder} holds no model: config.json is missing")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").train()


def prepare(model: Any, config: LearnerConfig, seed: int = 0) -> Any:
    """The model, in place, with the adapters and on the device of a configuration.

    Args:
        seed: of new adapters.

    Raises:
        MissingExtraError, ConfigError: see `add_adapters` and `torch_device`.
    """
    if config.lora is not None:
        add_adapters(model, config.lora, seed)
    if config.gradient_checkpointing:
        # One method under the name of newer and of older releases of transformers.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model.to(torch_device(config.device))


def torch_device(name: str) -> torch.device:
    """The device of a name; `auto` is the GPU where there is one.

    Raises:
        ConfigError: a GPU is asked for, and torch sees none.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"learner.device = {name!r}, but torch sees no GPU here: take 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def silence_transformers() -> None:
    """Stops its progress bars for loading and saving weights, which would run through ours at every checkpoint."""
    from transformers.utils import logging

    logging.disable_progress_bar()


class Outputs(NamedTuple):
    """What a model says at N chosen positions: `logits` [N, V], and the last hidden `states` [N, H] they came from.

    `states` is `None` for a model whose head is not one linear map of them.
    """

    logits: torch.Tensor
    states: torch.Tensor | None


class Forward(nn.Module):
    """A causal model's outputs at chosen positions only.

    Most of a row is prompt and observation, whose logits nobody needs. Where the model is a decoder followed by one
    linear head (checked once on a few tokens), the head runs on the chosen positions alone, in float32; otherwise all
    logits are computed and the chosen ones kept.

    Args:
        precision: of the layers.
    """

    def __init__(self, model: Any, precision: Precision = Precision.FLOAT32) -> None:
        super().__init__()
        self.model = model
        self._precision = precision
        self._dtype = next(model.parameters()).dtype
        self._direct = model.get_output_embeddings() is not None and self._agrees()

    def forward(self, inputs: Inputs) -> Outputs:
        """The outputs at `inputs.predictors`."""
        if not self._direct:
            with autocast(inputs.ids.device, self._precision):
                logits: torch.Tensor = self.model(**_arguments(inputs)).logits
            return Outputs(logits.flatten(0, 1)[inputs.predictors].to(self._dtype), None)
        states = hidden_states(self.model.base_model, inputs, self._precision).to(self._dtype)
        return Outputs(self.model.get_output_embeddings()(states), states)

    @torch.no_grad()
    def keeps_packed_rows_apart(self) -> bool:
        """Whether what a row's tokens get does not depend on the rows packed before it."""
        first, second = (
            [index % self.model.config.vocab_size for index in range(start, start + 3)] for start in (1, 4)
        )
        device = next(self.model.parameters()).device
        packed = Inputs(torch.tensor([first + second]), torch.tensor([3, 4, 5]), torch.tensor([[0, 1, 2, 0, 1, 2]]))
        alone = Inputs(torch.tensor([second]), torch.tensor([0, 1, 2]))
        with evaluating(self.model):
            found, expected = (self(inputs.to(device)).logits for inputs in (packed, alone))
        tolerance = 1e-4 if self._precision is Precision.FLOAT32 else 3e-2
        return bool(torch.allclose(found, expected, rtol=tolerance, atol=tolerance))

    @torch.no_grad()
    def _agrees(self) -> bool:
        model = self.model
        device = next(model.parameters()).device
        ids = torch.arange(8, device=device)[None, :] % model.config.vocab_size
        with evaluating(model):
            whole = model(input_ids=ids, use_cache=False).logits
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            direct = model.get_output_embeddings()(states)
        return bool(torch.allclose(whole, direct, rtol=1e-4, atol=1e-5))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A model without dropout, for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def hidden_states(decoder: Any, inputs: Inputs, precision: Precision) -> torch.Tensor:
    """A decoder's last hidden states [N, H] at `inputs.predictors`."""
    with autocast(inputs.ids.device, precision):
        states: torch.Tensor = decoder(**_arguments(inputs)).last_hidden_state
    return states.flatten(0, 1)[inputs.predictors]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context a model's layers compute in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.BFLOAT16)


def _arguments(inputs: Inputs) -> dict[str, Any]:
    arguments: dict[str, Any] = {"input_ids": inputs.ids, "use_cache": False}
    return arguments if inputs.position_ids is None else arguments | {"position_ids": inputs.position_ids}
