"""What others get of a model in training: complete weights in its ordinary layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from agentenv.learn.adapters import adapters_of, merged
from agentenv.learn.config import LoraConfig
from agentenv.learn.parallel import Parallel


class Weights:
    """A model's weights as if it had neither adapters nor been divided among processes.

    Where it has been divided, every process calls the same methods.
    """

    def __init__(self, model: Any, lora: LoraConfig | None, parallel: Parallel) -> None:
        self._model = model
        self._lora = lora
        self._parallel = parallel

    def state_dict(self) -> dict[str, torch.Tensor]:
        """To publish; without adapters on one process these are the model's own tensors, not copies."""
        state = self._parallel.state_of(self._model)
        return state if self._lora is None else merged(state, self._lora)

    def save_pretrained(self, folder: Path, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Writes the model in transformers' layout, as it is or with an earlier `state_dict` of it."""
        self._model.save_pretrained(folder, state_dict=self.state_dict() if state_dict is None else state_dict)

    def adapters(self) -> dict[str, torch.Tensor] | None:
        """What a resumed run needs beside the base model; `None` where whole weights are trained."""
        return None if self._lora is None else adapters_of(self._parallel.state_of(self._model))

    def load_adapters(self, adapters: dict[str, torch.Tensor]) -> None:
        """The inverse of `adapters`."""
        self._parallel.load(self._model, adapters, strict=False)
