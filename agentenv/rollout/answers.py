"""Checks of what an environment or a policy returned, before anything is built on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from agentenv.env import Info, Observation, StepResult
from agentenv.errors import EnvironmentFailure, ModelError, VerifierError
from agentenv.messages import Message, Role
from agentenv.policy.contract import Completion
from agentenv.rewards import as_reward
from agentenv.tools import ToolSpec


def checked_reset(answer: object, where: str) -> tuple[Observation, Info]:
    """The (observation, info) of a reset. Raises `EnvironmentFailure` for anything else."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise EnvironmentFailure(f"{where} must return (observation, info), got {answer!r:.120}")
    return _observation(answer[0], where), _info(answer[1], where)


def checked_step(answer: object, where: str) -> StepResult:
    """The five-tuple of a step, its reward made a `Reward`.

    Raises:
        EnvironmentFailure: it is no five-tuple, or a part has the wrong type.
        VerifierError: the reward is neither a finite number nor `None`.
    """
    if not isinstance(answer, tuple) or len(answer) != 5:
        raise EnvironmentFailure(
            f"{where} must return (observation, reward, terminated, truncated, info), got {answer!r:.120}"
        )
    observation, reward, terminated, truncated, info = answer
    return StepResult(
        _observation(observation, where),
        as_reward(reward, where),
        _flag(terminated, "terminated", where),
        _flag(truncated, "truncated", where),
        _info(info, where),
    )


def checked_completion(answer: object, where: str) -> Completion:
    """The completion of a policy. Raises `ModelError` for anything that is no assistant message."""
    if not isinstance(answer, Completion) or not isinstance(answer.message, Message):
        raise ModelError(f"{where} must return a Completion, got {answer!r:.120}")
    if answer.message.role is not Role.ASSISTANT:
        raise ModelError(f"{where} must answer as the assistant, not as {answer.message.role!r}")
    return answer


def check_return(value: float | None, reward_range: tuple[float, float], where: str) -> None:
    """Raises `VerifierError` when an episode's return lies outside the range its specification promises."""
    low, high = reward_range
    slack = 1e-9 * max([1.0, *(abs(bound) for bound in reward_range if math.isfinite(bound))])
    if value is not None and not low - slack <= value <= high + slack:
        raise VerifierError(f"{where} returned {value:g} in all, outside its reward_range [{low:g}, {high:g}]")


def _observation(value: object, where: str) -> Observation:
    if not isinstance(value, Observation):
        raise EnvironmentFailure(f"{where} returned {value!r:.120} as observation, which is no Observation")
    _check_all(value.messages, Message, where)
    _check_all(value.tools, ToolSpec, where)
    if type(value.messages) is tuple and type(value.tools) is tuple:
        return value
    return Observation(tuple(value.messages), tuple(value.tools))


def _check_all(parts: Iterable[object], kind: type, where: str) -> None:
    for part in parts:
        if not isinstance(part, kind):
            raise EnvironmentFailure(f"{where} returned an observation with {part!r:.120} in it")


def _info(value: object, where: str) -> Info:
    if not isinstance(value, Mapping):
        raise EnvironmentFailure(f"{where} returned {value!r:.120} as info, which is no mapping")
    return dict(value)  # environments like to go on writing into theirs


def _flag(value: object, name: str, where: str) -> bool:
    if value is True or value is False:
        return value
    if type(value).__name__ in ("bool", "bool_"):  # NumPy's, under its old and new name
        return bool(value)
    raise EnvironmentFailure(f"{where} returned {value!r:.120} as {name}, which is no bool")
