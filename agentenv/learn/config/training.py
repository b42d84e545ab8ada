"""The configuration of a training run, and the combinations that make no sense."""

from __future__ import annotations

from typing import Any, Self

import pydantic

from agentenv.learn.advantages.group_relative import Baseline
from agentenv.learn.config import advantage as advantages
from agentenv.learn.config import loss as losses
from agentenv.learn.config.advantage import AdvantageConfig
from agentenv.learn.config.alarms import AlarmsConfig
from agentenv.learn.config.critic import CriticConfig
from agentenv.learn.config.groups import GroupsConfig
from agentenv.learn.config.learner import LearnerConfig
from agentenv.learn.config.loss import KlPlacement, LossConfig
from agentenv.learn.config.strict import Strict
from agentenv.learn.config.tracking import Tracking
from agentenv.rollout.config import RolloutConfig
from agentenv.trajectory.rows import RowView


class SupervisedConfig(Strict):
    """How demonstrations are learnt: AdamW, learning rate decayed linearly to 0."""

    steps: int = pydantic.Field(default=500, ge=1)
    rows_per_step: int = pydantic.Field(default=32, ge=1)
    lr: float = pydantic.Field(default=3e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    tokens_per_microbatch: int = pydantic.Field(default=4096, ge=1)


class WarmupConfig(SupervisedConfig):
    """Supervised learning on demonstrations before the first iteration, so that there is something to reinforce.

    Attributes:
        demonstrator: a policy as after `--policy`; it may be privileged, such as `oracle`.
        demonstrator_options: of its factory.
        demonstrations: how many different episodes it plays; they are used again when the steps need more.
    """

    demonstrator: str = "oracle"
    demonstrator_options: dict[str, pydantic.JsonValue] = pydantic.Field(default_factory=dict)
    demonstrations: int = pydantic.Field(default=4000, ge=1)


class ImitationPhase(SupervisedConfig):
    """Phases of supervised learning on the run's own successes between two of reinforcement (Entropulse).

    Attributes:
        after: iterations after whose update there is such a phase. The optimizer of reinforcement stays as it was.
        at_least: the return from which on an episode is a success.
    """

    after: tuple[int, ...] = ()
    at_least: float = 1.0
    steps: int = pydantic.Field(default=100, ge=1)
    lr: float = pydantic.Field(default=3e-4, gt=0)


class FinalTestConfig(Strict):
    """Greedy test of the model before the first iteration and of the best one at the end, on the same tasks.

    Attributes:
        split: of tasks that neither training nor the choice of the best model has seen.
        tasks: how many.
    """

    split: str = "test"
    tasks: int = pydantic.Field(default=200, ge=1)


class EvaluationConfig(Strict):
    """Greedy evaluation while training; the checkpoint with the best mean reward is kept.

    Attributes:
        every: iterations between two evaluations; there is one before the first iteration and one after the last.
        split: of tasks that are not trained on. Report final numbers on yet another one.
        tasks: how many, the same ones each time.
        stop_at: end the run as soon as the mean reward reaches this; `None` runs all iterations.
    """

    every: int = pydantic.Field(default=10, ge=1)
    split: str = "dev"
    tasks: int = pydantic.Field(default=100, ge=1)
    stop_at: float | None = None


class TrainConfig(Strict):
    """One run of reinforcement learning, by default synchronous GRPO with PPO's clip.

    Attributes:
        environment: a registered id or `file.py:Class`. environment_kwargs: for its constructor.
        split: of the tasks to train on.
        iterations: rollouts followed by an update, this many times; 0 makes and saves the warmed-up model alone.
        time_limit: seconds of iterations after which the run ends, if it has not before; `None` sets none. Rollouts,
            updates and publishing count, before an interruption too; a warm-up and the final test do not, nor do
            evaluations where they take turns with training.
        tasks_per_iteration: groups per iteration. siblings: episodes per group, compared with each other.
        temperature: of sampling while training. There is no top-p or top-k: the learner computes the probability of a
            token under the whole distribution.
        max_tokens: sampled tokens per model call.
        max_turns: replaces the environment's own limit.
        seed: of the order of tasks, the environments, what the policy draws and the dealing of minibatches.
        checkpoint_every: iterations between two checkpoints. A killed run takes what it has finished since the last
            one from its journal.
        staleness: η, how many updates the rollouts may be ahead of the weights that sampled them: with 0 the two take
            turns, above they overlap (AReaL, https://arxiv.org/abs/2505.24298, section 5.1). It bounds who may begin:
            a group that takes long is trained on when it ends, with tokens that may be older.
        advantage, loss: the algorithm. critic: for the advantages that need one. groups: selection and shaping.
        imitation: phases of imitating the run's own successes; none by default.
        warmup: `None` starts from the model as it is. final_test: `None` ends without a test.
        alarms: what the run watches for.
        tracking: programs that get the numbers too, besides `metrics.jsonl`.
    """

    environment: str
    environment_kwargs: dict[str, pydantic.JsonValue] = pydantic.Field(default_factory=dict)
    split: str = "train"
    iterations: int = pydantic.Field(default=100, ge=0)
    time_limit: float | None = pydantic.Field(default=None, gt=0)
    tasks_per_iteration: int = pydantic.Field(default=32, ge=1)
    siblings: int = pydantic.Field(default=8, ge=1)
    temperature: float = 1.0
    max_tokens: int = pydantic.Field(default=64, ge=1)
    max_turns: int | None = pydantic.Field(default=None, ge=1)
    seed: int = pydantic.Field(default=0, ge=0)
    checkpoint_every: int = pydantic.Field(default=10, ge=1)
    staleness: int = pydantic.Field(default=0, ge=0)
    warmup: WarmupConfig | None = None
    advantage: AdvantageConfig = advantages.Grpo()
    loss: LossConfig = losses.PpoClip()
    critic: CriticConfig | None = None
    groups: GroupsConfig = GroupsConfig()
    learner: LearnerConfig = LearnerConfig()
    imitation: ImitationPhase = ImitationPhase()
    evaluation: EvaluationConfig = EvaluationConfig()
    final_test: FinalTestConfig | None = None
    alarms: AlarmsConfig = AlarmsConfig()
    tracking: tuple[Tracking, ...] = ()
    rollout: RolloutConfig = RolloutConfig()

    @pydantic.field_validator("temperature")
    @classmethod
    def _explores(cls, temperature: float) -> float:
        if temperature <= 0:
            raise ValueError("greedy siblings are all alike: training needs a temperature above 0, usually 1")
        return temperature

    @property
    def needs_critic(self) -> bool:
        """Whether the advantage is estimated with a critic."""
        return isinstance(self.advantage, advantages.TokenGae | advantages.TurnGae)

    @property
    def compares_siblings(self) -> bool:
        """Whether an episode is judged by its group, which must then have several members."""
        alone = advantages.TokenGae | advantages.TurnGae | advantages.ReinforcePlusPlus | advantages.Imitation
        if isinstance(self.advantage, advantages.Reinforce):
            return self.advantage.baseline is Baseline.GROUP
        return not isinstance(self.advantage, alone)

    @property
    def needs_reference(self) -> bool:
        """Whether the model that the iterations started from is looked at again."""
        return self.loss.kl is not None or isinstance(self.advantage, advantages.Preference)

    @pydantic.model_validator(mode="after")
    def _algorithm_makes_sense(self) -> Self:
        kind = self.advantage.kind
        if self.compares_siblings and self.siblings < 2:
            raise ValueError(f"{kind} advantages are relative to the group: it takes siblings = 2 or more")
        if self.needs_critic and self.critic is None:
            raise ValueError(f"{kind} needs values: add a [critic] table, or take an advantage without a critic")
        if self.critic is not None and not self.needs_critic:
            raise ValueError(f"nothing would read the critic: {kind} does without; take gae or turn_gae")
        likelihood = advantages.Imitation | advantages.Preference
        if isinstance(self.advantage, likelihood) and self.loss.kind != "reinforce":
            raise ValueError(f"{kind} moves likelihoods without a ratio: it goes with loss.kind = 'reinforce'")
        kl = self.loss.kl
        if isinstance(self.advantage, advantages.Preference) and kl is not None:
            raise ValueError("preference holds on to the reference by its beta: leave out loss.kl")
        if isinstance(self.advantage, advantages.MaxRl) and kl is not None and kl.placement is KlPlacement.REWARD:
            raise ValueError("maxrl divides by the mean reward, and a price on divergence makes rewards negative")
        correction = self.loss.correction
        if (
            correction is not None
            and correction.kind is losses.Correction.SEQUENCE
            and self.learner.row_view is RowView.TRANSITION
        ):
            raise ValueError(
                "a sequence correction weighs whole episodes, and row_view = 'transition' cuts them into single calls: "
                "take row_view = 'merged', or correction.kind = 'token'"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _groups_make_sense(self) -> Self:
        groups = self.groups
        if groups.resample_on_correct and (self.siblings % 2 or self.siblings < 4):
            raise ValueError(
                f"resample_on_correct keeps half of siblings = {self.siblings}: take an even number from 4 on"
            )
        if groups.dynamic_sampling and self.siblings < 2:
            raise ValueError("dynamic_sampling keeps groups whose members differ: it takes siblings = 2 or more")
        return self

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> Self:
        episodes = self.tasks_per_iteration * self.siblings
        if self.learner.minibatches > episodes:
            raise ValueError(
                f"learner.minibatches = {self.learner.minibatches}, but an iteration has only {episodes} episodes"
            )
        if self.evaluation.split == self.split:
            raise ValueError(
                f"evaluation.split = {self.split!r} is the split that is trained on: "
                "the best checkpoint must be chosen on other tasks"
            )
        if self.final_test is not None and self.final_test.split in (self.split, self.evaluation.split):
            raise ValueError(
                f"final_test.split = {self.final_test.split!r} is a split that training or the choice of the best "
                "checkpoint has seen: the result would flatter"
            )
        return self

    def differences(self, other: TrainConfig) -> list[str]:
        """One line per field that differs, this side first. Fields that may change when a run goes on are left out."""
        mine, theirs = (_flat(config.model_dump(mode="json", exclude=_MAY_CHANGE)) for config in (self, other))
        return [
            f"{key}: {mine.get(key)!r} ≠ {theirs.get(key)!r}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]


_MAY_CHANGE: dict[str, Any] = {
    "iterations": True,
    "time_limit": True,
    "checkpoint_every": True,
    "rollout": True,
    "tracking": True,
    "evaluation": {"stop_at": True},
    "learner": {
        "batching": True,
        "tokens_per_microbatch": True,
        "device": True,
        "gradient_checkpointing": True,
        "threads": True,
    },
}


def _flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key != "environment_kwargs":
            flat |= _flat(value, f"{at}{key}.")
        else:
            flat[f"{at}{key}"] = value
    return flat
