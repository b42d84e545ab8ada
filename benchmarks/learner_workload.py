"""What the learners are compared on: a small Llama, ragged rows, and what a runner is told and tells back.

Imported by our runner and by the peer's, so it needs nothing but torch, numpy and transformers.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import cpu_seconds, resident_bytes

LR = 1e-4
CLIP_LOW, CLIP_HIGH = 0.2, 0.28
MAX_GRAD_NORM = 1.0
PAD = 0
GROUP = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, one completion and what a learner is told of it: the log-probability of every sampled token."""

    prompt: list[int]
    completion: list[int]
    logprobs: list[float]
    advantage: float

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def new_model(vocabulary: int, seed: int = 0) -> Any:
    """A Llama with random weights: 1.8 million parameters, and 192 more for every word (embedding and head are one)."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            initializer_range=0.05,
            pad_token_id=PAD,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def load(folder: Path) -> Any:
    """The model in float32, as every contestant trains it."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")


def new_samples(model: Any, count: int, seed: int = 0) -> list[Sample]:
    """Prompts of 20 to 200 tokens, completions of log-normal lengths from 5 to 300, advantages of groups of eight.

    The log-probabilities are the model's own and some noise, so that the clip has tokens to cut on both sides.
    """
    rng = numpy.random.default_rng(seed)
    advantages = rng.normal(size=(count // GROUP, GROUP))
    advantages = (advantages - advantages.mean(1, keepdims=True)) / advantages.std(1, ddof=1, keepdims=True)
    samples = []
    for advantage in advantages.flatten().tolist():
        prompt_length = int(rng.integers(20, 201))
        completion_length = int(numpy.clip(rng.lognormal(numpy.log(50), 1.0), 5, 300))
        ids = rng.integers(1, model.config.vocab_size, prompt_length + completion_length).tolist()
        behaviour = logprobs(model, ids, prompt_length) + rng.normal(0.0, 0.2, completion_length)
        samples.append(Sample(ids[:prompt_length], ids[prompt_length:], behaviour.tolist(), advantage))
    return samples


@torch.no_grad()
def logprobs(model: Any, ids: list[int], start: int) -> Any:
    """Of the tokens from `start` on, by the plainest route there is."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1]
    return torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(ids[start:])[:, None])[:, 0].double().numpy()


def save_samples(samples: list[Sample], path: Path) -> None:
    path.write_text(json.dumps([asdict(sample) for sample in samples]))


def load_samples(path: Path) -> list[Sample]:
    return [Sample(**sample) for sample in json.loads(path.read_text())]


@dataclass(frozen=True, slots=True)
class LearnerOptions:
    """What a runner is told.

    Attributes:
        folder: with the model and `samples.json`.
        variant: how the rows are cut into micro-batches; a runner's own names.
        steps: measured ones. warm_up: before them.
        tokens: padded positions of a micro-batch, at most.
    """

    folder: Path
    variant: str
    steps: int
    warm_up: int
    tokens: int

    @classmethod
    def parse(cls) -> Self:
        parser = argparse.ArgumentParser()
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--variant", required=True)
        for name in ("steps", "warm-up", "tokens"):
            parser.add_argument(f"--{name}", type=int, required=True)
        return cls(**vars(parser.parse_args()))

    def arguments(self) -> list[str]:
        """The command line that parses to this."""
        return [
            *("--folder", str(self.folder), "--variant", self.variant, "--steps", str(self.steps)),
            *("--warm-up", str(self.warm_up), "--tokens", str(self.tokens)),
        ]


@dataclass(frozen=True, slots=True)
class LearnerReport:
    """What a runner prints, one number for every measured step where it is a list.

    Attributes:
        losses: of the whole batch before each step, warm-up included.
        padded_tokens: positions that one step's forward passes run over.
        peak_bytes: highest resident memory of the process during the measured steps.
        before_bytes: resident before the first step, with the model and the optimizer made.
    """

    name: str
    version: str
    losses: list[float]
    cpu_s: list[float]
    wall_s: list[float]
    padded_tokens: int
    peak_bytes: int
    before_bytes: int

    def print(self) -> None:
        print(json.dumps(asdict(self)), flush=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the last line of a runner's output."""
        return cls(**json.loads(text.strip().splitlines()[-1]))

    @property
    def step_bytes(self) -> int:
        """What the steps need on top of what was there before them."""
        return self.peak_bytes - self.before_bytes


class StepClock:
    """Times steps and keeps the highest resident memory; `warm_up` steps are let pass first."""

    def __init__(self, warm_up: int) -> None:
        self.cpu_s: list[float] = []
        self.wall_s: list[float] = []
        self._to_skip = warm_up
        self.before_bytes = resident_bytes()

    def begin(self) -> None:
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()

    def end(self) -> None:
        if self._to_skip:
            self._to_skip -= 1
            return
        self.cpu_s.append(cpu_seconds() - self._cpu)
        self.wall_s.append(time.perf_counter() - self._wall)

    def report(self, name: str, version: str, losses: list[float], padded_tokens: int) -> LearnerReport:
        return LearnerReport(
            name, version, losses, self.cpu_s, self.wall_s, padded_tokens, peak_resident_bytes(), self.before_bytes
        )


def peak_resident_bytes() -> int:
    """The highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
