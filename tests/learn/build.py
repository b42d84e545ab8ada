"""A very small Llama and rows for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentenv.learn.config import LearnerConfig, LossConfig
from agentenv.learn.config.loss import PpoClip
from agentenv.learn.objective import Objective
from agentenv.learn.streams import TrainingRow
from agentenv.learn.trainer import Trainer

VOCABULARY = 19


def tiny_model(seed: int = 0, **changes: Any) -> Any:
    """About 5,000 random weights; a context of 64."""
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**(sizes | changes)))


def trainer(model: Any, loss: LossConfig | None = None, *, temperature: float = 1.0, **learner: Any) -> Trainer:
    """A trainer for the policy alone, by default with PPO's clip; the other keywords are the learner's settings."""
    return Trainer(model, LearnerConfig(**learner), Objective(loss or PpoClip()), temperature=temperature)


def row(
    ids: Sequence[int],
    sampled: Sequence[int],
    *,
    advantage: float = 1.0,
    logprobs: Sequence[float] | None = None,
    weight: float = 1.0,
    name: str = "e",
) -> TrainingRow:
    """A training row whose tokens at the positions `sampled` were sampled."""
    mask = numpy.zeros(len(ids), dtype=numpy.bool_)
    mask[list(sampled)] = True
    behaviour = numpy.zeros(len(ids), dtype=numpy.float32)
    behaviour[mask] = numpy.float32(-2.0) if logprobs is None else numpy.array(logprobs, dtype=numpy.float32)
    return TrainingRow(
        name=name,
        ids=numpy.array(ids, dtype=numpy.int64),
        mask=mask,
        weights=mask * numpy.float32(weight),
        units=weight * len(sampled),
        advantages=mask * numpy.float32(advantage),
        behaviour_logprobs=behaviour,
    )


def random_rows(count: int, seed: int = 0, *, model: Any = None) -> list[TrainingRow]:
    """Ragged rows with several sampled stretches; with `model` given, their logprobs are near that model's own."""
    rng = numpy.random.default_rng(seed)
    rows = []
    for index in range(count):
        length = int(rng.integers(4, 30))
        ids = rng.integers(1, VOCABULARY, length)
        sampled = [at for at in range(1, length) if rng.random() < 0.5] or [length - 1]
        logprobs = rng.normal(-2.9, 0.1, len(sampled))
        if model is not None:
            logprobs = logprobs_of(model, ids.tolist(), sampled) + rng.normal(0.0, 0.05, len(sampled))
        advantage = float(rng.normal())
        rows.append(row(ids.tolist(), sampled, advantage=advantage, logprobs=logprobs.tolist(), name=f"e{index // 2}"))
    return rows


@torch.no_grad()
def logprobs_of(model: Any, ids: Sequence[int], positions: Sequence[int]) -> Any:
    """log pi of the tokens at `positions` of one unpadded sequence, by the plainest route there is."""
    logits = model(input_ids=torch.tensor([list(ids)])).logits[0]
    every = torch.log_softmax(logits, dim=-1)
    return numpy.array([every[at - 1, ids[at]].item() for at in positions])
