"""Configuration of learning: what may be set, its defaults, and the combinations that make no sense."""

from __future__ import annotations

from typing import Any, Self

import pydantic

from agentenv.learn.aggregation import Aggregation
from agentenv.rollout.config import RolloutConfig
from agentenv.trajectory.rows import RowView


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LearnerConfig(_Strict):
    """How rows become optimizer steps.

    Attributes:
        lr: learning rate of AdamW, constant.
        minibatches: optimizer steps per iteration; the episodes are dealt out among them.
        clip_low, clip_high: the ratio of policy to behaviour policy is clipped to [1 − clip_low, 1 + clip_high].
        max_grad_norm: longer gradients are scaled down to this norm.
        aggregation: how token losses are weighted against each other.
        row_view: how an episode's model calls become rows.
        divide_by_std: false leaves advantages centred only (Dr. GRPO).
        tokens_per_microbatch: padded tokens per forward pass; changes speed and memory, never the result.
        threads: torch threads of the update; `None` leaves torch's own setting.
    """

    lr: float = pydantic.Field(default=3e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = pydantic.Field(default=1e-8, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    max_grad_norm: float = pydantic.Field(default=1.0, gt=0)
    minibatches: int = pydantic.Field(default=2, ge=1)
    clip_low: float = pydantic.Field(default=0.2, gt=0, lt=1)
    clip_high: float = pydantic.Field(default=0.28, gt=0)
    aggregation: Aggregation = Aggregation.EPISODE_MEAN
    row_view: RowView = RowView.MERGED
    divide_by_std: bool = True
    tokens_per_microbatch: int = pydantic.Field(default=4096, ge=1)
    threads: int | None = pydantic.Field(default=None, ge=1)


class SupervisedConfig(_Strict):
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
    demonstrator_options: dict[str, pydantic.JsonValue] = {}
    demonstrations: int = pydantic.Field(default=4000, ge=1)


class FinalTestConfig(_Strict):
    """Greedy test of the model before the first iteration and of the best one at the end, on the same tasks.

    Attributes:
        split: of tasks that neither training nor the choice of the best model has seen.
        tasks: how many.
    """

    split: str = "test"
    tasks: int = pydantic.Field(default=200, ge=1)


class EvaluationConfig(_Strict):
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


class TrainConfig(_Strict):
    """One synchronous GRPO run.

    Attributes:
        environment: a registered id or `file.py:Class`. environment_kwargs: for its constructor.
        split: of the tasks to train on.
        iterations: rollouts followed by an update, this many times.
        tasks_per_iteration: groups per iteration. siblings: episodes per group, compared with each other.
        temperature: of sampling while training. There is no top-p or top-k: the learner computes the probability of a
            token under the whole distribution.
        max_tokens: sampled tokens per model call.
        max_turns: replaces the environment's own limit.
        seed: of the order of tasks, the environments, what the policy draws and the dealing of minibatches.
        checkpoint_every: iterations between two checkpoints. A killed run takes what it has finished since the last
            one from its journal.
        warmup: `None` starts from the model as it is. final_test: `None` ends without a test.
    """

    environment: str
    environment_kwargs: dict[str, pydantic.JsonValue] = {}
    split: str = "train"
    iterations: int = pydantic.Field(default=100, ge=1)
    tasks_per_iteration: int = pydantic.Field(default=32, ge=1)
    siblings: int = 8
    temperature: float = 1.0
    max_tokens: int = pydantic.Field(default=64, ge=1)
    max_turns: int | None = pydantic.Field(default=None, ge=1)
    seed: int = pydantic.Field(default=0, ge=0)
    checkpoint_every: int = pydantic.Field(default=10, ge=1)
    warmup: WarmupConfig | None = None
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    final_test: FinalTestConfig | None = None
    rollout: RolloutConfig = RolloutConfig()

    @pydantic.field_validator("siblings")
    @classmethod
    def _comparable(cls, siblings: int) -> int:
        if siblings < 2:
            raise ValueError("advantages are relative to the group: it takes at least 2 siblings to learn anything")
        return siblings

    @pydantic.field_validator("temperature")
    @classmethod
    def _explores(cls, temperature: float) -> float:
        if temperature <= 0:
            raise ValueError("greedy siblings are all alike: training needs a temperature above 0, usually 1")
        return temperature

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
    "checkpoint_every": True,
    "rollout": True,
    "evaluation": {"stop_at": True},
    "learner": {"tokens_per_microbatch": True, "threads": True},
}


def _flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key != "environment_kwargs":
            flat |= _flat(value, f"{at}{key}.")
        else:
            flat[f"{at}{key}"] = value
    return flat
