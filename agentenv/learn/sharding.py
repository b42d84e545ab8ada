"""One model trained by several processes: each keeps a part of every parameter and works on a part of the rows.

That is fully sharded data parallelism by torch's `fully_shard`: a layer's parameters are brought together for as long
as the layer runs, and its gradients are added up where their part is kept. Start the same program in every process,
for instance with `torchrun --nproc-per-node 2 program.py`, and in it:

    with Sharded.across_processes("cuda") as parallel:
        learner = Learner(model, config, parallel)
        learner.learn(episodes, iteration)        # the same episodes everywhere
        weights = learner.weights.state_dict()    # complete, everywhere; call it everywhere

Loss, gradient and weights are those of one process. What is saved there goes on in any other number of processes. The
model must fit whole into a device's memory once, before it is divided; its gradients, the optimizer's moments and the
activations need not. A batch that does not fit into memory ends the run: the other
processes wait in the middle of theirs, so that it cannot be tried again in halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from agentenv.learn.parallel import Parallel

T = TypeVar("T")


class Sharded(Parallel):
    """This process as one of those of a mesh of one dimension."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self._mesh = mesh
        self._group = mesh.get_group()
        self.rank = mesh.get_local_rank()
        self.size = mesh.size()

    @classmethod
    @contextmanager
    def across_processes(cls, device: str) -> Iterator[Sharded]:
        """All processes that were started together (`torchrun` says which), on `cpu` or on a `cuda` device each."""
        if device == "cuda":
            torch.cuda.set_device(dist.get_node_local_rank(fallback_rank=0))
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
        try:
            yield cls(init_device_mesh(device, (dist.get_world_size(),)))
        finally:
            dist.destroy_process_group()

    def shard(self, module: nn.Module) -> None:
        for layer in _layers(module):
            fully_shard(layer, mesh=self._mesh)
        fully_shard(module, mesh=self._mesh)

    def share(self, count: int) -> range:
        return range(self.rank, count, self.size)

    def level(self, batches: Sequence[T], spare: T) -> list[T]:
        return [*batches, *[spare] * (max(self.gather(len(batches))) - len(batches))]

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def gather(self, value: T) -> list[T]:
        everybody: list[Any] = [None] * self.size
        dist.all_gather_object(everybody, value, group=self._group)
        return everybody

    def backward(self, loss: torch.Tensor) -> None:
        super().backward(loss * self.size)  # the gradients are averaged over the processes

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def part(self, whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        if not isinstance(like, DTensor):
            return whole
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules: the layers of a decoder."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _layers(child)
