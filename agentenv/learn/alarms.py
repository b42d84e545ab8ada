"""Alarms: figures of an iteration that say that a run is going wrong, and what to do about it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentenv.episode import Episode
from agentenv.learn.advantages import GroupAdvantages
from agentenv.learn.config.alarms import Alarm, AlarmAction, AlarmsConfig
from agentenv.learn.diagnostics import UpdateDiagnostics


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that was raised: `name` as in the configuration, and `message`, which says what to do about it."""

    name: str
    action: AlarmAction
    message: str


@dataclass(frozen=True, slots=True)
class Played:
    """What is known of an iteration before its update; `nan` where there is nothing to measure.

    Attributes:
        length: mean sampled tokens an episode. capped: share of model calls that ran into `max_tokens`.
        idle_groups: share of groups with nothing to tell apart. reward: mean. components: mean of each of its parts.
        entropy: estimated by the mean of −log π_b over the sampled tokens, in nats. There is one, unlike the learner's
            own, when a collapse has left no token to train on.
    """

    length: float
    capped: float
    idle_groups: float
    reward: float = math.nan
    entropy: float = math.nan
    components: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """What the update adds; `nan` where there is nothing to measure."""

    gradient_norm: float
    mismatch: float


RECENT = 3
"""Iterations whose mean reward is compared, and gradient norms that a median needs: a collapse takes few."""


class Alarms:
    """Watches one iteration after another; remembers what "at the start" and "lately" were like."""

    def __init__(self, config: AlarmsConfig) -> None:
        self._config = config
        self._first_lengths: list[float] = []
        self._norms: list[float] = []
        self._idle: list[float] = []
        self._rewards: list[float] = []
        self._best_reward = -math.inf
        self._components: list[dict[str, float]] = []

    def before_update(self, played: Played) -> list[Raised]:
        """The alarms that an iteration's episodes raise. Call it once an iteration, before the update."""
        raised = [
            *self._judge_answers(played),
            *self._judge_reward(played.reward),
            *self._judge_idle(played.idle_groups),
            *self._judge_components(played.components),
        ]
        if len(self._first_lengths) < self._config.window and math.isfinite(played.length):
            self._first_lengths.append(played.length)
        return raised

    def after_update(self, trained: Trained) -> list[Raised]:
        """The alarms that the update raises. Call it once an iteration, after `before_update`."""
        raised = list(self._judge_trained(trained))
        if math.isfinite(trained.gradient_norm):
            self._norms = [*self._norms, trained.gradient_norm][-self._config.window :]
        return raised

    def step_limit(self) -> float | None:
        """The gradient norm from which on a step is to be left out; `None` when none is."""
        alarm = self._config.gradient_spike
        if alarm is None or alarm.action is not AlarmAction.SKIP or len(self._norms) < self._enough:
            return None
        return alarm.at * statistics.median(self._norms)

    @property
    def _enough(self) -> int:
        """Gradient norms from which on their median says something."""
        return min(self._config.window, RECENT)

    def state_dict(self) -> dict[str, Any]:
        return {
            "first_lengths": self._first_lengths,
            "norms": self._norms,
            "idle": self._idle,
            "rewards": self._rewards,
            "best_reward": self._best_reward,
            "components": self._components,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._first_lengths, self._norms = list(state["first_lengths"]), list(state["norms"])
        self._idle, self._components = list(state["idle"]), list(state["components"])
        self._rewards, self._best_reward = list(state["rewards"]), state["best_reward"]

    def _judge_answers(self, played: Played) -> Iterator[Raised]:
        share = played.length / statistics.fmean(self._first_lengths) if self._first_lengths else math.nan
        yield from self._fallen(
            "short_answers",
            share,
            f"answers have shrunk to {share:.0%} of their length at the start: see whether short ones are paid for, "
            "lower learner.lr, or take a baseline",
        )
        yield from self._risen(
            "capped_answers",
            played.capped,
            f"{played.capped:.0%} of the answers ran into max_tokens: raise it, price length (groups.overlong), or "
            "lower learner.lr if this has come on by training",
        )
        yield from self._fallen(
            "low_entropy",
            played.entropy,
            f"the policy's entropy is {played.entropy:.2g} nats a token: siblings are alike and nothing new is tried; "
            "raise loss.entropy_bonus or loss.clip_high, or imitate the run's successes ([imitation])",
        )

    def _judge_reward(self, reward: float) -> Iterator[Raised]:
        if not math.isfinite(reward):
            return
        self._rewards = [*self._rewards, reward][-RECENT:]
        if len(self._rewards) < RECENT:
            return
        recent = statistics.fmean(self._rewards)
        self._best_reward = max(self._best_reward, recent)
        yield from self._fallen(
            "fallen_reward",
            recent / self._best_reward if self._best_reward > 0 else math.nan,
            f"the reward is {recent:.3f} over {RECENT} iterations and was {self._best_reward:.3f}: lower learner.lr or "
            "the steps on a batch (learner.epochs, minibatches), and go back to the best checkpoint",
        )

    def _judge_idle(self, idle_groups: float) -> Iterator[Raised]:
        window = self._config.window
        self._idle = [*self._idle, idle_groups][-window:]
        least = min(self._idle) if len(self._idle) == window else math.nan
        yield from self._risen(
            "idle_groups",
            least,
            f"in at least {least:.0%} of the groups all members have been rewarded alike for {window} iterations: "
            "there is nothing to learn; take easier or harder tasks, a longer warm-up, or a higher temperature",
        )

    def _judge_components(self, components: Mapping[str, float]) -> Iterator[Raised]:
        config = self._config
        self._components = [*self._components, dict(components)][-config.window :]
        if len(self._components) < config.window:
            return
        rise, fall = self._change(config.format), -self._change(config.answer)
        yield from self._risen(
            "bought_format",
            min(rise, fall) if math.isfinite(rise + fall) else math.nan,
            f"over {config.window} iterations {config.format!r} has risen by {rise:.2f} and {config.answer!r} has "
            f"fallen by {fall:.2f}: lower the weight of {config.format!r}",
        )

    def _change(self, component: str) -> float:
        """How much a component has changed over the window; `nan` where it is not known at both ends."""
        half = self._config.window // 2
        values = [components.get(component, math.nan) for components in self._components]
        return statistics.fmean(values[-half:]) - statistics.fmean(values[:half])

    def _judge_trained(self, trained: Trained) -> Iterator[Raised]:
        known = len(self._norms) >= self._enough
        times = trained.gradient_norm / max(statistics.median(self._norms), 1e-30) if known else math.nan
        yield from self._risen(
            "gradient_spike",
            times,
            f"the gradient's norm is {trained.gradient_norm:.3g}, {times:.0f} times what it has been: lower learner.lr "
            "or learner.max_grad_norm, and look at the rows of this iteration",
        )
        yield from self._risen(
            "mismatch",
            trained.mismatch,
            f"sampler and learner differ by {trained.mismatch:.3g} nats a token before any step: check that the server "
            "samples with these weights at this temperature and reports processed log-probabilities; lower staleness, "
            "or correct for it (loss.proximal, loss.correction)",
        )

    def _risen(self, name: str, figure: float, message: str) -> Iterator[Raised]:
        """The alarm of this name, if it is on and its figure has reached it from below; `nan` has not."""
        alarm: Alarm | None = getattr(self._config, name)
        if alarm is not None and figure >= alarm.at:
            yield Raised(name, alarm.action, message)

    def _fallen(self, name: str, figure: float, message: str) -> Iterator[Raised]:
        """As `_risen`, from above."""
        alarm: Alarm | None = getattr(self._config, name)
        if alarm is not None and figure <= alarm.at:
            yield Raised(name, alarm.action, message)


def played(episodes: Sequence[Episode], groups: GroupAdvantages) -> Played:
    """What an iteration's scored episodes are like."""
    scored = [episode for episode in episodes if episode.reward is not None]
    records = [[turn.action.tokens for turn in one.turns if turn.action.tokens is not None] for one in scored]
    surprises = [-logprob for calls in records for record in calls for logprob in record.logprobs]
    reasons = [turn.finish_reason for episode in scored for turn in episode.turns]
    idle = groups.zero_variance_groups + groups.singleton_groups
    names = {name for episode in scored for name in episode.components}
    return Played(
        length=_mean([sum(len(record.sampled_ids) for record in calls) for calls in records]),
        capped=_mean([reason == "length" for reason in reasons]),
        idle_groups=idle / groups.groups if groups.groups else math.nan,
        reward=_mean([episode.reward for episode in scored if episode.reward is not None]),
        entropy=_mean(surprises),
        components={
            name: statistics.fmean(episode.components.get(name, 0.0) for episode in scored) for name in sorted(names)
        },
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def trained(update: UpdateDiagnostics) -> Trained:
    """What an update was like."""
    return Trained(update.gradient_norm_max, update.mismatch_kl)
