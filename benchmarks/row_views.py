"""What merging an episode's calls into one row saves: trained tokens and time of an update, by number of turns.

The same episodes, as token records of the calculator's size (a prompt of 60 tokens, 20 sampled and 10 observed a turn),
are learnt from twice, with `row_view = "merged"` and `"transition"`, by learners that differ in nothing else. Loss and
gradient must agree, or there is no result.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch

from agentenv.episode import Episode
from agentenv.learn.config import LearnerConfig, TrainConfig
from agentenv.learn.config.advantage import Grpo
from agentenv.learn.config.loss import PpoClip
from agentenv.learn.learner import Learned, Learner
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv.trajectory import RowView
from benchmarks.learner_workload import logprobs, new_model
from benchmarks.measure import cpu_seconds
from benchmarks.result import Result, Table
from tests.trajectory.build import episode

TURNS = (1, 5, 10, 20)
PROMPT, SAMPLED, OBSERVED = 60, 20, 10
GROUPS, SIBLINGS = 2, 4
VOCABULARY = 512
TOKENS_PER_MICROBATCH = 4096
TARGET_TURNS, TARGET = 10, 5.0
"""Times fewer trained tokens."""
TOLERANCE = 1e-5
"""Of the loss, absolutely, and of the gradient, relative to its norm."""


@dataclass(frozen=True, slots=True)
class Updated:
    """One update by a fresh learner.

    Attributes:
        rows, trained: how many, and the tokens they hold. padded: positions the forward passes ran over.
        sampled: tokens with a loss; the same in every view.
    """

    rows: int
    trained: int
    padded: int
    sampled: int
    loss: float
    gradient_norm: float
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Compared:
    """Both views on the same episodes: the updates of every round, and the relative difference of their gradients."""

    turns: int
    merged: tuple[Updated, ...]
    transition: tuple[Updated, ...]
    gradient_difference: float

    @property
    def fewer(self) -> float:
        """Times fewer trained tokens in the merged view."""
        return self.transition[0].trained / self.merged[0].trained

    @property
    def faster(self) -> float:
        """Times less CPU, the median of the rounds' ratios."""
        ratios = (each.cpu_s / ours.cpu_s for ours, each in zip(self.merged, self.transition, strict=True))
        return statistics.median(ratios)


def run(rounds: int = 5) -> Result:
    torch.set_num_threads(1)
    return _result([compare(turns, rounds) for turns in TURNS], rounds)


def compare(turns: int, rounds: int) -> Compared:
    """Updates from the same episodes in both views, in turns.

    Raises:
        RuntimeError: loss or gradient differ.
    """
    episodes = new_episodes(turns)
    updates: dict[RowView, list[Updated]] = {RowView.MERGED: [], RowView.TRANSITION: []}
    gradients: dict[RowView, torch.Tensor] = {}
    for _ in range(rounds):
        for view, made in updates.items():
            updated, gradients[view] = update(episodes, view)
            made.append(updated)
    merged, transition = gradients[RowView.MERGED], gradients[RowView.TRANSITION]
    difference = float((merged - transition).norm() / merged.norm())
    losses = [each.loss for made in updates.values() for each in made]
    if max(losses) - min(losses) > TOLERANCE or not difference <= TOLERANCE:
        raise RuntimeError(f"{turns} turns: losses {losses}, gradients {difference:.1e} apart")
    return Compared(turns, tuple(updates[RowView.MERGED]), tuple(updates[RowView.TRANSITION]), difference)


def new_episodes(turns: int) -> list[Episode]:
    """Groups of siblings with random tokens and returns; the log-probabilities are near those of the model."""
    rng, model = random.Random(turns), new_model(VOCABULARY).eval()
    return [
        episode(
            *_calls(turns, rng, model),
            id=f"{group}/{sibling}",
            group=str(group),
            sibling=sibling,
            final_reward=float(rng.random() < 0.5),
        )
        for group in range(GROUPS)
        for sibling in range(SIBLINGS)
    ]


def _calls(turns: int, rng: random.Random, model: Any) -> list[TokenRecord]:
    """The model calls of an episode: every prompt is the conversation so far, as it was sampled."""
    step = SAMPLED + OBSERVED
    ids = [rng.randrange(1, VOCABULARY) for _ in range(PROMPT + turns * step)]
    behaviour = [value + rng.gauss(0.0, 0.2) for value in logprobs(model, ids, PROMPT).tolist()]
    calls = []
    for start in range(PROMPT, PROMPT + turns * step, step):
        end = start + SAMPLED
        told = tuple(behaviour[start - PROMPT : end - PROMPT])
        calls.append(TokenRecord(tuple(ids[:start]), tuple(ids[start:end]), told, (VersionSpan(0, 0, SAMPLED),)))
    return calls


def update(episodes: list[Episode], view: RowView) -> tuple[Updated, torch.Tensor]:
    """One update by GRPO with PPO's clip, and its gradient, read from Adam's first moment: after one step a tenth."""
    config = TrainConfig(
        environment="toy-v0",
        siblings=SIBLINGS,
        tasks_per_iteration=GROUPS,
        advantage=Grpo(),
        loss=PpoClip(),
        learner=LearnerConfig(
            row_view=view, minibatches=1, tokens_per_microbatch=TOKENS_PER_MICROBATCH, max_grad_norm=1e9
        ),
    )
    learner = Learner(new_model(VOCABULARY), config)
    cpu, wall = cpu_seconds(), time.perf_counter()
    learned = learner.learn(episodes, 1)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    states = learner.state_dict()["trainer"]["optimizer"]["state"]
    gradient = torch.cat([states[index]["exp_avg"].flatten() for index in sorted(states)]) / 0.1
    return _updated(learned, cpu, wall), gradient


def _updated(learned: Learned, cpu: float, wall: float) -> Updated:
    rows, done = learned.rows.rows, learned.update
    return Updated(
        rows=len(rows),
        trained=sum(len(row.ids) for row in rows),
        padded=done.padded_tokens,
        sampled=done.tokens,
        loss=done.loss,
        gradient_norm=done.gradient_norm,
        cpu_s=cpu,
        wall_s=wall,
    )


def _result(compared: list[Compared], rounds: int) -> Result:
    at = next(each for each in compared if each.turns == TARGET_TURNS)
    apart = max(each.gradient_difference for each in compared)
    verdict = (
        f"At {TARGET_TURNS} turns the merged view trains {at.fewer:.1f} times fewer tokens than one row per call and "
        f"updates {at.faster:.1f} times faster (target: at least {TARGET:g} times fewer tokens): "
        f"{'met' if at.fewer >= TARGET else 'missed'}. The loss is the same within {TOLERANCE:.0e}, and the gradient "
        f"within {apart:.0e} of its norm."
    )
    header = [
        "turns",
        "trained tokens, one row per call",
        "merged",
        "times fewer",
        "CPU of an update, one row per call, s",
        "merged",
        "times faster",
    ]
    rows = [
        [
            str(each.turns),
            f"{each.transition[0].trained:,}",
            f"{each.merged[0].trained:,}",
            f"{each.fewer:.1f}",
            f"{_cpu(each.transition):.2f}",
            f"{_cpu(each.merged):.2f}",
            f"{each.faster:.1f}",
        ]
        for each in compared
    ]
    settings = {
        "episodes": GROUPS * SIBLINGS,
        "prompt": PROMPT,
        "sampled_a_turn": SAMPLED,
        "observed_a_turn": OBSERVED,
        "tokens_per_microbatch": TOKENS_PER_MICROBATCH,
        "rounds": rounds,
    }
    data = settings | {"turns": [dataclasses.asdict(each) for each in compared]}
    return Result("row_views", verdict, Table(header, rows), data)


def _cpu(updates: tuple[Updated, ...]) -> float:
    return statistics.median(each.cpu_s for each in updates)
