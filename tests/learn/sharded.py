"""What the tests of sharding run in each process: the same updates, in one process or in several."""

from __future__ import annotations

import copy
import dataclasses
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from agentenv.learn.config import CriticConfig, LearnerConfig, LoraConfig
from agentenv.learn.config.loss import Gspo, LossConfig, PpoClip
from agentenv.learn.critic import Critic
from agentenv.learn.diagnostics import UpdateDiagnostics
from agentenv.learn.model import prepare
from agentenv.learn.objective import Objective
from agentenv.learn.parallel import Parallel
from agentenv.learn.sharding import Sharded
from agentenv.learn.streams import Stream, TrainingRow
from agentenv.learn.trainer import Trainer
from agentenv.learn.weights import Weights
from tests.learn.build import random_rows, tiny_model

CLIP = PpoClip()
RAGGED = LearnerConfig(minibatches=2, tokens_per_microbatch=60, max_grad_norm=0.1, lr=1e-2)


@dataclasses.dataclass(frozen=True)
class Case:
    """A setting that must not depend on the number of processes."""

    rows: int = 9
    loss: LossConfig = CLIP
    critic: CriticConfig | None = None
    learner: LearnerConfig = RAGGED
    tied: bool = False


CASES: dict[str, Case] = {
    "ragged rows, an odd number of them": Case(),
    "fewer rows than processes": Case(rows=1),
    "a sequence loss": Case(loss=Gspo()),
    "packed rows": Case(learner=LearnerConfig(minibatches=1, batching="packed", tokens_per_microbatch=50)),
    "activations computed again": Case(learner=LearnerConfig(gradient_checkpointing=True)),
    "embeddings that are the head": Case(tied=True),
    "a critic of its own": Case(critic=CriticConfig(kind="separate")),
    "a critic on the policy's layers": Case(critic=CriticConfig(kind="head")),
    "adapters": Case(learner=LearnerConfig(minibatches=2, lr=1e-2, lora=LoraConfig(rank=2))),
}


def run(case: Case, parallel: Parallel) -> dict[str, Any]:
    """Updates with a save and load between them, and all they leave behind; the same in every process."""
    model = prepare(tiny_model(tie_word_embeddings=case.tied).double(), case.learner)
    rows = random_rows(case.rows, model=tiny_model())
    if case.critic is not None:
        rows = [_valued(row, index) for index, row in enumerate(rows)]

    def trainer() -> Trainer:
        critic = None if case.critic is None else Critic(model, case.critic)
        objective = Objective(case.loss)
        return Trainer(model, case.learner, objective, critic=critic, critic_config=case.critic, parallel=parallel)

    first = trainer()
    begun = first.logprobs(rows)
    if case.critic is not None:
        first.update(rows, random.Random(2), critic_only=True)
    told = first.update(rows, random.Random(0))
    state = copy.deepcopy(first.state_dict())
    first.load_state_dict(copy.deepcopy(state))  # torch goes on with the very tensors it is given
    after = first.update(rows, random.Random(1))
    return {
        "told": _comparable(told),
        "after": _comparable(after),
        "state": state,
        "weights": Weights(model, case.learner.lora, parallel).state_dict(),
        "begun": _tensors(begun),
        "logprobs": _tensors(first.logprobs(rows)),
        "values": _tensors(first.values(rows) if case.critic is not None else []),
    }


def _tensors(streams: Sequence[Stream]) -> list[torch.Tensor]:
    return [torch.from_numpy(stream) for stream in streams]


def _comparable(told: UpdateDiagnostics) -> dict[str, Any]:
    """All but the padding, which depends on who runs which rows."""
    return {name: value for name, value in dataclasses.asdict(told).items() if not name.startswith("padd")}


def _valued(row: TrainingRow, index: int) -> TrainingRow:
    returns = (row.mask * (index % 3 - 1)).astype(numpy.float32)
    return dataclasses.replace(row, returns=returns, old_values=numpy.zeros_like(returns))


def process(rank: int, size: int, folder: Path, names: Sequence[str]) -> None:
    """One of `size` processes; leaves what it found in `folder`."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": (folder / "port").read_text()}
    with Sharded.across_processes("cpu") as parallel:
        torch.save({name: run(CASES[name], parallel) for name in names}, folder / f"{rank}.pt")
