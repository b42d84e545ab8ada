"""The model being trained: loading it, and its logits at the positions that matter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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


def silence_transformers() -> None:
    """Stops its progress bars for loading and saving weights, which would run through ours at every checkpoint."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model says at N chosen positions: `logits` [N, V], and the last hidden `states` [N, H] they came from.

    `states` is `None` for a model whose head is not one linear map of them.
    """

    logits: torch.Tensor
    states: torch.Tensor | None


class Forward:
    """A causal model's outputs at chosen positions only.

    Most of a row is prompt and observation, whose logits nobody needs. Where the model is a decoder followed by one
    linear head (checked once on a few tokens), the head runs on the chosen positions alone; otherwise all logits are
    computed and the chosen ones kept.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._decoder = model.base_model
        self._head = model.get_output_embeddings()
        self._direct = self._head is not None and self._agrees()

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor) -> Outputs:
        """The outputs at `positions` [N] of `ids.flatten()`, for right-padded `ids` [B, T]."""
        if not self._direct:
            logits: torch.Tensor = self._model(input_ids=ids, use_cache=False).logits
            return Outputs(logits.flatten(0, 1)[positions], None)
        states = hidden_states(self._decoder, ids, positions)
        return Outputs(self._head(states), states)

    @torch.no_grad()
    def _agrees(self) -> bool:
        device = next(self._model.parameters()).device
        was_training = self._model.training
        self._model.eval()
        ids = torch.arange(8, device=device)[None, :] % self._model.config.vocab_size
        whole = self._model(input_ids=ids, use_cache=False).logits
        direct = self._head(self._decoder(input_ids=ids, use_cache=False).last_hidden_state)
        self._model.train(was_training)
        return bool(torch.allclose(whole, direct, rtol=1e-4, atol=1e-5))


def hidden_states(decoder: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """A decoder's last hidden states [N, H] at `positions` [N] of `ids.flatten()`, for right-padded `ids` [B, T]."""
    states: torch.Tensor = decoder(input_ids=ids, use_cache=False).last_hidden_state
    return states.flatten(0, 1)[positions]
