"""Supervised learning on what the policy itself did well: the rows of its successes, as they were sampled."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy

from agentenv.episode import Episode
from agentenv.learn.config import ImitationPhase
from agentenv.learn.streams import WeightedRow
from agentenv.learn.supervised import SupervisedStep, supervise
from agentenv.trajectory import RowView, build_rows


def successes(episodes: Iterable[Episode], at_least: float, view: RowView = RowView.MERGED) -> list[WeightedRow]:
    """Rows of the episodes whose return is at least that; every sampled token counts 1."""
    rows = []
    for episode in episodes:
        if episode.reward is None or episode.reward < at_least:
            continue
        for row in build_rows([episode], view).rows:
            weights = row.mask.astype(numpy.float32)
            rows.append(WeightedRow(row.episode_id, row.ids, row.mask, weights, float(row.sampled)))
    return rows


def imitate(
    model: Any,
    rows: Sequence[WeightedRow],
    config: ImitationPhase,
    rng: random.Random,
    on_step: Callable[[SupervisedStep], None] = lambda step: None,
) -> None:
    """Trains `model` in place on rows drawn in random order, all of them before any comes again.

    The supervised phase of Entropulse (ComputerRL, https://arxiv.org/abs/2508.14040, section 3.3): what many policies
    along the run did well is more varied than what the latest one does, so learning it restores entropy.
    """
    if not rows:
        return
    order: list[WeightedRow] = []
    while len(order) < config.steps * config.rows_per_step:
        order += rng.sample(list(rows), len(rows))
    supervise(model, order.__getitem__, config, on_step)
