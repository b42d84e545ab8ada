"""How a trainer shares its work: here with nobody; `sharding` shares it among processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class Parallel:
    """The only process there is. Subclasses are several that call the same methods in the same order.

    Every process is given the same rows, works on its share of them, and ends with the same numbers. What must be
    known of all of them goes through here; everything else in the trainer is as if it were alone.
    """

    size: int = 1

    def shard(self, module: nn.Module) -> None:
        """Keeps only a part of the module's parameters here, between forward passes; before any optimizer sees them."""

    def share(self, count: int) -> range:
        """Which of `count` things this process works on."""
        return range(count)

    def level(self, batches: Sequence[T], spare: T) -> list[T]:
        """This process's batches, and `spare` ones until it has as many as any other: forward passes are in step."""
        return list(batches)

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag

    def gather(self, value: T) -> list[T]:
        """What every process says, in their order."""
        return [value]

    def backward(self, loss: torch.Tensor) -> None:
        """Adds the gradient of the sum of every process's `loss`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of which this process may hold a part, complete."""
        return tensor

    def part(self, whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """This process's part of a complete tensor, divided as `like` is."""
        return whole

    def state_of(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """A module's complete state dict."""
        return {name: self.whole(tensor) for name, tensor in module.state_dict().items()}

    def load(self, module: nn.Module, state: dict[str, torch.Tensor], *, strict: bool = True) -> None:
        """The inverse of `state_of`; with `strict=False` of a part of it, the rest staying as it is."""
        own = module.state_dict()
        module.load_state_dict({name: self.part(tensor, own[name]) for name, tensor in state.items()}, strict=strict)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimizer's complete state dict."""
        state = optimizer.state_dict()
        moments = {index: {key: self.whole(value) for key, value in of.items()} for index, of in state["state"].items()}
        return state | {"state": moments}

    def load_optimizer(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """The inverse of `optimizer_state`."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        moments = {}
        for index, of in state["state"].items():
            like = parameters[index]
            moments[index] = {k: self.part(v, like) if v.shape == like.shape else v for k, v in of.items()}
        optimizer.load_state_dict(state | {"state": moments})
