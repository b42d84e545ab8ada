"""Direct preference optimisation on rows: the best episode of each group against the worst.

The loss of a pair is −log σ(β m) with m the difference of log π_θ − log π_ref between the two answers (`losses.dpo`).
Its gradient is that of −β σ(−β m) · (log π_θ(chosen) − log π_θ(rejected)) with the factor held constant, which is
REINFORCE with the advantages ±β σ(−β m). So the pairs are scored before every optimizer step, the streams are filled
with these advantages, and the trainer needs to know nothing of pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch

from agentenv.learn.experience import Experience
from agentenv.learn.losses import dpo
from agentenv.learn.streams import Stream, TokenRow, TrainingRow
from agentenv.learn.trainer import Trainer
from agentenv.trajectory import group_id


@dataclass(frozen=True, slots=True)
class Pair:
    """Two episodes of one group, by their place in the experience."""

    chosen: int
    rejected: int


@dataclass(slots=True)
class PreferenceReport:
    """What the pairs were like when each was learnt from.

    Attributes:
        losses: −log σ(β m) of each. margins: m of each; the policy agrees with a preference where it is positive.
    """

    losses: list[float]
    margins: list[float]


def pairs_of(experience: Experience) -> list[Pair]:
    """The best and the worst episode of every group in which they differ; the earlier of equals."""
    members: dict[str, list[int]] = {}
    for index, episode in enumerate(experience.episodes):
        if len(experience.tokens[index]):
            members.setdefault(group_id(episode.key), []).append(index)
    pairs = []
    for indices in members.values():
        returns = {index: sum(experience.turn_rewards(index)) for index in indices}
        best, worst = max(indices, key=returns.__getitem__), min(indices, key=returns.__getitem__)
        if returns[best] > returns[worst]:
            pairs.append(Pair(best, worst))
    return pairs


def preference_steps(
    trainer: Trainer,
    experience: Experience,
    reference: Sequence[Stream],
    *,
    beta: float,
    epochs: int,
    minibatches: int,
    rng: random.Random,
    report: PreferenceReport,
) -> Iterator[list[TrainingRow]]:
    """Minibatches for `Trainer.update_lazily`, each filled by the weights as they are when it is drawn.

    Args:
        reference: log π_ref of the sampled tokens, one stream a row of the experience.
        report: what the pairs were like is appended to it.
    """
    pairs = pairs_of(experience)
    for _ in range(epochs):
        dealt = rng.sample(pairs, len(pairs))
        for start in range(min(minibatches, len(dealt))):
            yield _filled(trainer, experience, reference, dealt[start::minibatches], beta, report)


def _filled(
    trainer: Trainer,
    experience: Experience,
    reference: Sequence[Stream],
    pairs: Sequence[Pair],
    beta: float,
    report: PreferenceReport,
) -> list[TrainingRow]:
    wanted = {index for pair in pairs for index in (pair.chosen, pair.rejected)}
    places = sorted({int(row) for index in wanted for row in experience.tokens[index].rows})
    rows = [experience.rows[place] for place in places]
    scored = trainer.logprobs([TokenRow(row.episode_id, row.ids, row.mask) for row in rows])
    ours = dict(zip(places, scored, strict=True))

    def total(index: int, streams: dict[int, Stream] | Sequence[Stream]) -> float:
        tokens = experience.tokens[index]
        here = zip(tokens.rows, tokens.positions, strict=True)
        return float(sum(float(streams[int(row)][at]) for row, at in here))

    advantages: dict[str, float] = {}
    units: dict[str, float] = {}
    for pair in pairs:
        sums = [total(index, of) for of in (ours, reference) for index in (pair.chosen, pair.rejected)]
        margin = torch.tensor((sums[0] - sums[2]) - (sums[1] - sums[3]), dtype=torch.float64)
        report.margins.append(float(margin))
        report.losses.append(float(dpo(*(torch.tensor(value) for value in sums), beta=beta)))
        force = beta * float(torch.sigmoid(-beta * margin))
        for index, sign, unit in ((pair.chosen, 1.0, 1.0), (pair.rejected, -1.0, 0.0)):
            advantages[experience.episodes[index].id] = sign * force
            units[experience.episodes[index].id] = unit
    return [
        TrainingRow(
            name=row.episode_id,
            ids=row.ids,
            mask=row.mask,
            weights=row.mask.astype(numpy.float32),
            units=units[row.episode_id] * row.weight,
            advantages=row.mask * numpy.float32(advantages[row.episode_id]),
            behaviour_logprobs=row.logprobs,
        )
        for row in rows
    ]
