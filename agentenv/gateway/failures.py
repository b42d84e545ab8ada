"""What a client is told when a call fails, in the shape from which its library makes a typed error."""

from __future__ import annotations

from collections.abc import Mapping

from agentenv.gateway.calls import CallStatus
from agentenv.messages import Wire


class ApiError(Exception):
    """A call that is answered with an HTTP error.

    The `openai` library makes its class from the status: 400 `BadRequestError`, 401 `AuthenticationError`, 404
    `NotFoundError`, 429 `RateLimitError`, 5xx `InternalServerError`, any other an `APIStatusError`.

    Attributes:
        kind: OpenAI's `type`. param: the field at fault. code: a word programs can compare with.
        call_status: what the record of the call says.
        headers: sent with the answer (`Retry-After`).
        body: the upstream's own error body, passed on as it is.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        code: str | int | None = None,
        call_status: CallStatus = CallStatus.REFUSED,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _KINDS.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.code = code
        self.call_status = call_status
        self.headers = headers or {}
        self.body = body

    def to_wire(self) -> Wire:
        """OpenAI's error body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
