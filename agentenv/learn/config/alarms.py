"""What a run watches for, and what it does when it sees it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

import pydantic

from agentenv.learn.config.strict import Strict


class AlarmAction(StrEnum):
    """`WARN` says so and goes on, `STOP` ends the run with a checkpoint, `SKIP` leaves out the update or the step."""

    WARN = "warn"
    STOP = "stop"
    SKIP = "skip"


class Alarm(Strict):
    """A threshold and an action. A bare number in a file is a threshold with the action `warn`."""

    at: float
    action: AlarmAction = AlarmAction.WARN


def _alarm(value: object) -> object:
    if value is False:
        return None
    return {"at": value} if isinstance(value, int | float) and value is not True else value


Watched = Annotated[Alarm | None, pydantic.BeforeValidator(_alarm)]


class AlarmsConfig(Strict):
    """Each alarm is raised by a figure of one iteration; `false` switches it off.

    Attributes:
        window: iterations that "lately" and "at the start" mean.
        short_answers: mean sampled tokens an episode, as a share of those at the start, fell to this: length collapse.
        capped_answers: share of model calls that ran into `max_tokens` rose to this.
        low_entropy: mean entropy of a sampled token (nats), as the sampler's log-probabilities tell it, fell to this.
        fallen_reward: mean reward of the last three iterations, as a share of the best three in a row, fell to this.
            Not judged while the best is not positive.
        gradient_spike: the gradient's norm rose to this many times its median lately. `SKIP` leaves out the step.
        mismatch: KL (nats a token) between the sampler's and the learner's log-probabilities rose to this.
        idle_groups: share of groups in which all members are rewarded alike rose to this, over the whole window.
        bought_format: the reward component `format` rose by at least this over the window while the component `answer`
            fell by at least this: the policy is paid for how it says it.
    """

    window: int = pydantic.Field(default=10, ge=2)
    short_answers: Watched = Alarm(at=0.25)
    capped_answers: Watched = Alarm(at=0.5)
    low_entropy: Watched = Alarm(at=1e-3)
    fallen_reward: Watched = Alarm(at=0.5)
    gradient_spike: Watched = Alarm(at=20.0)
    mismatch: Watched = Alarm(at=0.05)
    idle_groups: Watched = Alarm(at=1.0)
    bought_format: Watched = None
    format: str = "format"
    answer: str = "correct"

    _CANNOT_BE_SKIPPED: ClassVar[dict[str, str]] = {
        "mismatch": "is known only once the update has been made",
        "bought_format": "is known only once the update has been made",
        "low_entropy": "would leave out every later update too, since the policy stays as it is",
        "fallen_reward": "would leave out every later update too, since the policy stays as it is",
    }

    @pydantic.model_validator(mode="before")
    @classmethod
    def _action_alone(cls, values: object) -> object:
        """An alarm that is given an action and no threshold keeps its own."""
        if not isinstance(values, dict):
            return values
        kept = {name: field.default.at for name, field in cls.model_fields.items() if isinstance(field.default, Alarm)}
        return {
            name: {"at": kept[name]} | value if name in kept and isinstance(value, dict) else value
            for name, value in values.items()
        }

    @pydantic.model_validator(mode="after")
    def _can_be_skipped(self) -> Self:
        for name, reason in self._CANNOT_BE_SKIPPED.items():
            alarm: Alarm | None = getattr(self, name)
            if alarm is not None and alarm.action is AlarmAction.SKIP:
                raise ValueError(f"{name} {reason}: its action is 'warn' or 'stop'")
        return self
