"""Everything an environment server says instead of an answer: a code programs can rely on, and a sentence."""

from __future__ import annotations

from enum import StrEnum

from agentenv.errors import AgentenvError
from agentenv.outcome import Failure, Status


class Code(StrEnum):
    """Why a request was not done.

    The last four are failures of the environment while it played (`agentenv.outcome`); the session is over and none of
    its steps has a reward for them. All others are refusals: nothing was done, and the session is as it was.
    """

    MALFORMED = "malformed"
    UNAUTHORIZED = "unauthorized"
    FOREIGN_ORIGIN = "foreign_origin"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    NO_SUCH_TASK = "no_such_task"
    TASK_CHANGED = "task_changed"
    SEED_REFUSED = "seed_refused"
    AT_CAPACITY = "at_capacity"
    STALE_EPOCH = "stale_epoch"
    UNKNOWN_SESSION = "unknown_session"
    LEASE_EXPIRED = "lease_expired"
    SESSION_CLOSED = "session_closed"
    SESSION_FAILED = "session_failed"
    SESSION_OVER = "session_over"
    WRONG_TURN = "wrong_turn"
    BUSY = "busy"
    MODEL_ERROR = "model_error"
    INTERNAL = "internal"
    ENV_ERROR = "env_error"
    SANDBOX_ERROR = "sandbox_error"
    VERIFIER_ERROR = "verifier_error"
    TIMEOUT = "timeout"

    @property
    def http_status(self) -> int:
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Code.MALFORMED: 400,
    Code.UNAUTHORIZED: 401,
    Code.FOREIGN_ORIGIN: 403,
    Code.NOT_FOUND: 404,
    Code.TOO_LARGE: 413,
    Code.NO_SUCH_TASK: 404,
    Code.TASK_CHANGED: 409,
    Code.SEED_REFUSED: 422,
    Code.AT_CAPACITY: 503,
    Code.STALE_EPOCH: 409,
    Code.UNKNOWN_SESSION: 404,
    Code.LEASE_EXPIRED: 410,
    Code.SESSION_CLOSED: 410,
    Code.SESSION_FAILED: 409,
    Code.SESSION_OVER: 409,
    Code.WRONG_TURN: 409,
    Code.BUSY: 409,
    Code.MODEL_ERROR: 502,
    Code.INTERNAL: 500,
    Code.ENV_ERROR: 500,
    Code.SANDBOX_ERROR: 502,
    Code.VERIFIER_ERROR: 500,
    Code.TIMEOUT: 504,
}


class Refusal(AgentenvError):
    """A request that is answered with an error.

    Attributes:
        code: which.
        failure: what went wrong inside the environment, when that is why.
    """

    def __init__(self, code: Code, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.failure = failure

    @classmethod
    def of(cls, failure: Failure) -> Refusal:
        """The answer to a request in which the environment failed."""
        codes = {Status.SANDBOX_ERROR: Code.SANDBOX_ERROR, Status.VERIFIER_ERROR: Code.VERIFIER_ERROR}
        codes[Status.TIMEOUT] = Code.TIMEOUT
        return cls(codes.get(failure.status, Code.ENV_ERROR), failure.message, failure)
