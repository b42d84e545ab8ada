"""The critic: the value of the state each sampled token was drawn in."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from agentenv.learn.config import CriticConfig, CriticKind
from agentenv.learn.errors import LearnError
from agentenv.learn.model import hidden_states


class Critic(nn.Module):
    """V before each sampled token, from the model's last hidden state there or from that of a model of its own.

    The last layer starts at zero, so that a new critic says 0 everywhere.

    Args:
        model: the policy, a causal language model; a `SEPARATE` critic begins with a copy of its layers.
    """

    def __init__(self, model: Any, config: CriticConfig) -> None:
        super().__init__()
        parameter = next(model.parameters())
        self.shares_layers = config.kind is CriticKind.HEAD
        self._share_gradient = config.share_gradient
        self.body: Any = None if self.shares_layers else copy.deepcopy(model.base_model)
        self.head = nn.Linear(model.config.hidden_size, 1, device=parameter.device, dtype=torch.float32)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, states: torch.Tensor | None, *, frozen_policy: bool = False
    ) -> torch.Tensor:
        """V [N] at `positions` [N] of `ids.flatten()`.

        Args:
            states: the policy's own hidden states there, [N, H]; only a critic that shares its layers reads them.
            frozen_policy: keeps the gradient out of shared layers, whatever the configuration says.
        """
        if self.body is not None:
            states = hidden_states(self.body, ids, positions)
        elif states is None:
            raise LearnError(
                "this model's head is not one linear map of its hidden states, so a critic cannot share them: "
                "take critic.kind = 'separate'"
            )
        elif frozen_policy or not self._share_gradient:
            states = states.detach()
        values: torch.Tensor = self.head(states.float())[:, 0]
        return values
