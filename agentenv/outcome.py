"""How an episode ended, and which boundary a failure is blamed on.

This short module is the only place that turns an exception into a status. A failure is never a zero reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agentenv.errors import (
    BoundaryError,
    EnvironmentFailure,
    EpisodeTimeout,
    ModelError,
    SandboxError,
    ToolFailure,
    VerifierError,
)


class Status(StrEnum):
    """The outcome of one attempt at an episode. Only `OK` and `TRUNCATED` carry a reward and reach a learner."""

    OK = "ok"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    ENV_ERROR = "env_error"
    MODEL_ERROR = "model_error"
    SANDBOX_ERROR = "sandbox_error"
    VERIFIER_ERROR = "verifier_error"

    @property
    def scored(self) -> bool:
        return self in (Status.OK, Status.TRUNCATED)


class StopReason(StrEnum):
    """Which limit or event ended the episode."""

    TERMINATED = "terminated"
    TURN_LIMIT = "turn_limit"
    TOOL_CALL_LIMIT = "tool_call_limit"
    INVALID_CALL_LIMIT = "invalid_call_limit"
    REPEATED_CALL_LIMIT = "repeated_call_limit"
    TOOL_ERROR_LIMIT = "tool_error_limit"
    TOKEN_LIMIT = "token_limit"
    CONTEXT_LENGTH = "context_length"
    ENVIRONMENT_TRUNCATED = "environment_truncated"
    CALL_TIMEOUT = "call_timeout"
    EPISODE_TIMEOUT = "episode_timeout"
    CANCELLED = "cancelled"
    FAILURE = "failure"


class Boundary(StrEnum):
    """Where a failure happened: which team's pager it should ring."""

    ENVIRONMENT = "environment"
    MODEL = "model"
    TOOL = "tool"
    SANDBOX = "sandbox"
    VERIFIER = "verifier"
    TIMEOUT = "timeout"


_ERROR_OF: dict[Boundary, type[BoundaryError]] = {
    Boundary.ENVIRONMENT: EnvironmentFailure,
    Boundary.MODEL: ModelError,
    Boundary.TOOL: ToolFailure,
    Boundary.SANDBOX: SandboxError,
    Boundary.VERIFIER: VerifierError,
    Boundary.TIMEOUT: EpisodeTimeout,
}

_STATUS_OF: dict[Boundary, Status] = {
    Boundary.ENVIRONMENT: Status.ENV_ERROR,
    Boundary.MODEL: Status.MODEL_ERROR,
    Boundary.TOOL: Status.ENV_ERROR,
    Boundary.SANDBOX: Status.SANDBOX_ERROR,
    Boundary.VERIFIER: Status.VERIFIER_ERROR,
    Boundary.TIMEOUT: Status.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, as the journal keeps it. `where` is the call that failed, e.g. ``"calculator-v0.step"``."""

    boundary: Boundary
    error: str
    message: str
    where: str

    @property
    def status(self) -> Status:
        return _STATUS_OF[self.boundary]

    def to_error(self) -> BoundaryError:
        """The exception a caller at a distance should raise for it: it is blamed on the same boundary again."""
        return _ERROR_OF[self.boundary](self.message)


class boundary:
    """Blames every ordinary exception of its `with` block on `side`, unless it already names its own boundary.

    Cancellation and `KeyboardInterrupt` pass through. A `TimeoutError` is blamed on the clock.

    >>> with boundary(Boundary.VERIFIER, "my-env.correct"):
    ...     1 / 0
    Traceback (most recent call last):
    ...
    agentenv.errors.VerifierError: my-env.correct raised ZeroDivisionError: division by zero
    """

    __slots__ = ("_side", "_where")

    def __init__(self, side: Boundary, where: str) -> None:
        self._side = side
        self._where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, BoundaryError):
            return
        if isinstance(error, TimeoutError):
            raise EpisodeTimeout(f"{self._where} timed out{_detail(error)}") from error
        what = f"{self._where} raised {type(error).__name__}{_detail(error)}"
        raise _ERROR_OF[self._side](what) from error


def classify(error: BaseException, where: str) -> Failure:
    """The failure record of an exception; anything that names no boundary is the environment's."""
    for side, kind in _ERROR_OF.items():
        if isinstance(error, kind):
            return Failure(side, type(error.__cause__ or error).__name__, str(error), where)
    side = Boundary.TIMEOUT if isinstance(error, TimeoutError) else Boundary.ENVIRONMENT
    return Failure(side, type(error).__name__, f"{where} raised {type(error).__name__}{_detail(error)}", where)


def _detail(error: BaseException) -> str:
    text = str(error)
    return f": {text}" if text else ""
