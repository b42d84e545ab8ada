"""Everything a sandbox service says instead of an answer: a code programs can rely on, and a sentence."""

from __future__ import annotations

from enum import StrEnum

from agentenv.errors import AgentenvError, ConfigError, UnsupportedError
from agentenv.sandbox.errors import SandboxFailed, SandboxFileError
from agentenv.sandbox.result import ExecResult


class Code(StrEnum):
    """Why a request was not done.

    `INFRA` and `INTERNAL` are failures of the service or of the sandbox, and never a program's. Of the others nothing
    was run.
    """

    MALFORMED = "malformed"
    UNAUTHORIZED = "unauthorized"
    FOREIGN_ORIGIN = "foreign_origin"
    NOT_FOUND = "not_found"
    UNKNOWN_SANDBOX = "unknown_sandbox"
    UNKNOWN_SESSION = "unknown_session"
    LEASE_EXPIRED = "lease_expired"
    SANDBOX_CLOSED = "sandbox_closed"
    TOO_LARGE = "too_large"
    FILE_ERROR = "file_error"
    IMPOSSIBLE = "impossible"
    AT_CAPACITY = "at_capacity"
    UNSUPPORTED = "unsupported"
    INFRA = "infra"
    INTERNAL = "internal"

    @property
    def http_status(self) -> int:
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Code.MALFORMED: 400,
    Code.UNAUTHORIZED: 401,
    Code.FOREIGN_ORIGIN: 403,
    Code.NOT_FOUND: 404,
    Code.UNKNOWN_SANDBOX: 404,
    Code.UNKNOWN_SESSION: 404,
    Code.LEASE_EXPIRED: 410,
    Code.SANDBOX_CLOSED: 410,
    Code.TOO_LARGE: 413,
    Code.FILE_ERROR: 422,
    Code.IMPOSSIBLE: 422,
    Code.AT_CAPACITY: 429,
    Code.UNSUPPORTED: 501,
    Code.INFRA: 502,
    Code.INTERNAL: 500,
}


class Refusal(AgentenvError):
    """A request that is answered with an error.

    Attributes:
        code: which. result: what is known of the execution that the sandbox failed under.
    """

    def __init__(self, code: Code, message: str, result: ExecResult | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.result = result

    @classmethod
    def of(cls, error: AgentenvError) -> Refusal:
        """The answer to a request under which a backend raised this."""
        match error:
            case Refusal():
                return error
            case SandboxFailed():
                return cls(Code.INFRA, str(error), error.result)
            case SandboxFileError():
                return cls(Code.FILE_ERROR, str(error))
            case ConfigError():
                return cls(Code.IMPOSSIBLE, str(error))
            case UnsupportedError():
                return cls(Code.UNSUPPORTED, str(error))
            case _:
                return cls(Code.INTERNAL, f"{type(error).__name__}: {error}")


class AtCapacity(Refusal):
    """There is no room now; the same request may be made again.

    Attributes:
        queued: executions that wait. running: that run. retry_after: seconds after which it may be worth trying.
    """

    def __init__(self, message: str, *, queued: int, running: int, retry_after: int) -> None:
        super().__init__(Code.AT_CAPACITY, message)
        self.queued, self.running, self.retry_after = queued, running, retry_after
