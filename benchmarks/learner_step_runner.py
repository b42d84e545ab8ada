"""Steps of our trainer on given rows: the counterpart of ``benchmarks.peers.trl_runner``."""

from __future__ import annotations

import random

import numpy
import torch

import agentenv
from agentenv.learn.aggregation import Aggregation
from agentenv.learn.config import LearnerConfig
from agentenv.learn.config.loss import PpoClip
from agentenv.learn.objective import Objective
from agentenv.learn.streams import Stream, TrainingRow
from agentenv.learn.trainer import Trainer
from benchmarks.learner_workload import (
    CLIP_HIGH,
    CLIP_LOW,
    LR,
    MAX_GRAD_NORM,
    LearnerOptions,
    Sample,
    StepClock,
    load,
    load_samples,
)


def row(name: str, sample: Sample) -> TrainingRow:
    """The training row of a sample, under a mean over all tokens."""
    mask = numpy.arange(len(sample)) >= len(sample.prompt)
    return TrainingRow(
        name=name,
        ids=numpy.array(sample.prompt + sample.completion, dtype=numpy.int64),
        mask=mask,
        weights=mask.astype(numpy.float32),
        units=float(len(sample.completion)),
        advantages=mask * numpy.float32(sample.advantage),
        behaviour_logprobs=_stream(sample),
    )


def _stream(sample: Sample) -> Stream:
    return numpy.array([0.0] * len(sample.prompt) + sample.logprobs, dtype=numpy.float32)


def main() -> None:
    options = LearnerOptions.parse()
    torch.set_num_threads(1)
    rows = [row(f"row {index}", each) for index, each in enumerate(load_samples(options.folder / "samples.json"))]
    config = LearnerConfig(
        lr=LR, minibatches=1, max_grad_norm=MAX_GRAD_NORM, tokens_per_microbatch=options.tokens, threads=1
    )
    loss = PpoClip(clip_low=CLIP_LOW, clip_high=CLIP_HIGH, aggregation=Aggregation.TOKEN_MEAN)
    trainer = Trainer(load(options.folder), config, Objective(loss))
    clock, losses, padded = StepClock(options.warm_up), [], 0
    for step in range(options.warm_up + options.steps):
        clock.begin()
        diagnostics = trainer.update(rows, random.Random(step))
        clock.end()
        losses.append(diagnostics.loss)
        padded = diagnostics.padded_tokens
    clock.report("agentenv", agentenv.__version__, losses, padded).print()


if __name__ == "__main__":
    main()
