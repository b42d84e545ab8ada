"""The learner: episodes in, updated weights and a report out.

It makes rows of the episodes, has the trainer score them where the algorithm wants to know more than the sampler said,
assigns credit, and hands the filled streams to the trainer.
"""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from agentenv.episode import Episode
from agentenv.learn.advantages import explained_variance
from agentenv.learn.alarms import Alarms, Raised, played, trained
from agentenv.learn.config import KlPlacement, Proximal, TrainConfig
from agentenv.learn.config.advantage import Preference
from agentenv.learn.config.alarms import AlarmAction
from agentenv.learn.credit import Credit, assign
from agentenv.learn.critic import Critic
from agentenv.learn.diagnostics import Tally, UpdateDiagnostics
from agentenv.learn.experience import Experience
from agentenv.learn.filling import Scores, training_rows
from agentenv.learn.imitation import imitate, successes
from agentenv.learn.losses import AdaptiveCoefficient
from agentenv.learn.model import Forward
from agentenv.learn.objective import Objective
from agentenv.learn.preferences import PreferenceReport, preference_steps
from agentenv.learn.pretraining import Pretraining
from agentenv.learn.selection import select
from agentenv.learn.streams import Stream, TokenRow
from agentenv.learn.trainer import Trainer
from agentenv.trajectory import Row, RowSet, build_rows


@dataclass(frozen=True, slots=True)
class Learned:
    """What one update did.

    Attributes:
        episodes: learnt from. rows: theirs, unscored ones included.
        explained_variance: of the critic on these episodes before it learnt from them; `nan` without one.
        pretraining: whether only the critic was trained.
        kl_coefficient: of this update; 0 without a price on divergence.
        rows_seconds, update_seconds: wall-clock time of preparing the rows and of the optimizer steps.
        raised: alarms. skipped: whether one of them left the update out.
    """

    episodes: tuple[Episode, ...]
    rows: RowSet
    credit: Credit
    update: UpdateDiagnostics
    explained_variance: float
    pretraining: bool
    kl_coefficient: float
    rows_seconds: float
    update_seconds: float
    raised: tuple[Raised, ...] = ()
    skipped: bool = False


class Learner:
    """Learns from episodes by the algorithm of a configuration. One thread at a time may call it.

    With a price on divergence, `refer_to` names the model it is measured against before the first update.

    Args:
        model: the policy's model, updated in place.
    """

    def __init__(self, model: Any, config: TrainConfig) -> None:
        self.model = model
        self._config = config
        critic = None if config.critic is None else Critic(model, config.critic)
        self._trainer = Trainer(
            model,
            config.learner,
            Objective(config.loss),
            temperature=config.temperature,
            critic=critic,
            critic_config=config.critic,
        )
        kl = config.loss.kl
        self._reference: Forward | None = None
        self._coefficient = None if kl is None else AdaptiveCoefficient(kl.coefficient, target=kl.target, gain=kl.gain)
        self._alarms = Alarms(config.alarms)
        self._pretraining = Pretraining(config.critic.pretraining if config.critic is not None else None)

    def refer_to(self, reference: Any) -> None:
        """Measures divergence from this model, which stays as it is."""
        self._reference = Forward(reference.eval())

    def learn(self, episodes: Sequence[Episode], iteration: int) -> Learned:
        """One update from an iteration's episodes, in their order; `iteration` counts from 1.

        The weights that come out are version `iteration`; those it starts from are version `iteration − 1`.

        Raises:
            LearnError: see `Trainer.update`.
        """
        started = time.perf_counter()
        rng = random.Random(f"{self._config.seed}/{iteration}")
        chosen = select(episodes, self._config.groups, rng)
        built = build_rows(chosen, self._config.learner.row_view)
        experience = Experience.of(chosen, built.rows, self._config.groups.overlong)
        coefficient = 0.0 if self._coefficient is None else self._coefficient.value
        scores = self._score(experience.rows, coefficient)
        experience = dataclasses.replace(experience, penalties=scores.penalties, values=scores.values)
        credit = assign(experience, self._config.advantage, rng)
        variance = _explained(experience, credit)
        pretraining = self._pretraining.goes_on(variance)
        rows = training_rows(experience, credit, scores, self._config.loss, iteration)
        made = time.perf_counter()
        raised = self._alarms.before_update(played(episodes, credit.groups))
        skipped = any(alarm.action is AlarmAction.SKIP for alarm in raised)
        if skipped:
            update = Tally(len(rows), len(rows)).finish(0)
        elif isinstance(self._config.advantage, Preference):
            update = self._prefer(experience, scores, self._config.advantage, rng)
        else:
            update = self._trainer.update(
                rows,
                rng,
                kl_coefficient=coefficient,
                critic_only=pretraining,
                step_limit=self._alarms.step_limit(),
            )
        raised += self._alarms.after_update(trained(update))
        self._adapt(experience, scores, coefficient, update)
        return Learned(
            episodes=tuple(chosen),
            rows=built,
            credit=credit,
            update=update,
            explained_variance=variance,
            pretraining=pretraining,
            kl_coefficient=coefficient,
            rows_seconds=made - started,
            update_seconds=time.perf_counter() - made,
            raised=tuple(raised),
            skipped=skipped,
        )

    def imitate(self, episodes: Iterable[Episode], iteration: int) -> int:
        """A phase of supervised learning on the successes among these episodes; returns how many rows they made."""
        config = self._config.imitation
        rows = successes(episodes, config.at_least, self._config.learner.row_view)
        imitate(self.model, rows, config, random.Random(f"{self._config.seed}/imitation/{iteration}"))
        return len(rows)

    def stop(self) -> None:
        """Ends a running update at its next micro-batch; may be called from any thread."""
        self._trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        """All that a later update depends on but the model's own weights."""
        return {
            "trainer": self._trainer.state_dict(),
            "kl_coefficient": None if self._coefficient is None else self._coefficient.value,
            "pretraining": self._pretraining.state_dict(),
            "alarms": self._alarms.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._trainer.load_state_dict(state["trainer"])
        if self._coefficient is not None:
            self._coefficient.value = state["kl_coefficient"]
        self._pretraining.load_state_dict(state["pretraining"])
        self._alarms.load_state_dict(state["alarms"])

    def _score(self, rows: Sequence[Row], coefficient: float) -> Scores:
        """What the algorithm wants to know of the rows beyond what the sampler said."""
        config, kl = self._config.loss, self._config.loss.kl
        plain = [TokenRow(row.episode_id, row.ids, row.mask) for row in rows]
        old = self._trainer.logprobs(plain) if config.proximal is Proximal.RECOMPUTED else None
        values = self._trainer.values(plain) if self._config.critic is not None else None
        reference = penalties = None
        if self._config.needs_reference:
            if self._reference is None:
                raise ValueError("this algorithm looks back at a reference: call refer_to first")
            reference = self._trainer.logprobs(plain, self._reference)
            if kl is not None and kl.placement is KlPlacement.REWARD:
                sampled = old if old is not None else [row.logprobs for row in rows]
                penalties = [
                    numpy.float32(coefficient) * (ours - theirs)
                    for ours, theirs in zip(sampled, reference, strict=True)
                ]
        return Scores(_all(old), _all(reference), _all(penalties), _all(values))

    def _prefer(
        self, experience: Experience, scores: Scores, config: Preference, rng: random.Random
    ) -> UpdateDiagnostics:
        assert scores.reference is not None
        report = PreferenceReport([], [])
        steps = preference_steps(
            self._trainer,
            experience,
            scores.reference,
            beta=config.beta,
            epochs=self._config.learner.epochs,
            minibatches=self._config.learner.minibatches,
            rng=rng,
            report=report,
        )
        update = self._trainer.update_lazily(steps)
        pairs = len(report.losses)
        return dataclasses.replace(update, loss=math.fsum(report.losses) / pairs if pairs else math.nan)

    def _adapt(self, experience: Experience, scores: Scores, coefficient: float, update: UpdateDiagnostics) -> None:
        """Lets the coefficient of the divergence learn what the divergence was."""
        if self._coefficient is None:
            return
        divergence = update.kl_reference
        if scores.penalties is not None:
            costs = [stream[row.mask] for stream, row in zip(scores.penalties, experience.rows, strict=True)]
            divergence = float(numpy.concatenate(costs).mean()) / coefficient if costs else math.nan
        if math.isfinite(divergence):
            self._coefficient.update(divergence)


def _explained(experience: Experience, credit: Credit) -> float:
    if experience.values is None or credit.returns is None or not experience.rows:
        return math.nan
    said = [values[row.mask] for values, row in zip(experience.values, experience.rows, strict=True)]
    came = [returns[row.mask] for returns, row in zip(credit.returns, experience.rows, strict=True)]
    return explained_variance(numpy.concatenate(said), numpy.concatenate(came))


def _all(streams: list[Stream] | None) -> tuple[Stream, ...] | None:
    return None if streams is None else tuple(streams)
