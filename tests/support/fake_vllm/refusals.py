"""vLLM's error bodies."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

Json = dict[str, Any]


class Refusal(Exception):
    """Answered with vLLM's error body. `kind` goes into `type`, the status into `code`."""

    def __init__(
        self, message: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST, kind: str = "BadRequestError", **param: Any
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param.get("param")

    @property
    def body(self) -> Json:
        """As sent."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status.value}
        return {"error": error}


class InvalidValue(Refusal):
    """A parameter out of range; vLLM repeats it in its message."""

    def __init__(self, message: str, param: str, **value: Any) -> None:
        shown = f", value={value['value']}" if "value" in value else ""
        super().__init__(f"{message} (parameter={param}{shown})", param=param)


class Unsupported(Refusal):
    """Real vLLM could do it; this fake cannot, and says so instead of pretending."""

    def __init__(self, what: str) -> None:
        message = f"the fake vLLM does not do {what}: try this with the real server"
        super().__init__(message, status=HTTPStatus.NOT_IMPLEMENTED, kind="NotImplementedError")


class UnknownModel(Refusal):
    def __init__(self, model: str, served: Sequence[str], *, names_aliases: bool) -> None:
        aliases = f" Valid aliases: {', '.join(served)}." if names_aliases else ""
        super().__init__(
            f"The model `{model}` does not exist.{aliases}",
            status=HTTPStatus.NOT_FOUND,
            kind="NotFoundError",
            param="model",
        )


class BadRequest(Refusal):
    """What FastAPI itself refuses, before vLLM looks at it."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, kind="Bad Request", param=param)


def internal_error(message: str) -> Refusal:
    """Status 500, as of a worker that failed."""
    return Refusal(message, status=HTTPStatus.INTERNAL_SERVER_ERROR, kind="InternalServerError")


def engine_dead() -> Refusal:
    """What every request gets once the engine's process has died."""
    return internal_error("EngineCore encountered an issue. See stack trace (above) for the root cause.")


def worker_failed(reason: str) -> Refusal:
    """A method that failed in a worker."""
    return internal_error(
        f"Call to collective_rpc method failed: Worker failed with error '{reason}', please check the stack trace "
        "above for the root cause"
    )


def engine_paused() -> Refusal:
    """A new request while the server is paused (0.33)."""
    return Refusal(
        "Generation is paused. Please retry after it resumes.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        kind="ServiceUnavailableError",
    )


def malformed(error: ValidationError, place: str = "body") -> BadRequest:
    """A body that is not of the request's type."""
    details = error.errors(include_url=False)
    lines, first = [], None
    for each in details[:10]:
        path = ".".join([place, *(str(part) for part in each["loc"] if not _is_internal(str(part)))])
        first = first or path
        shown = {"type": each["type"], "loc": path, "msg": each["msg"], "input": _summary(each["input"])}
        if "ctx" in each:
            shown["ctx"] = each["ctx"]
        lines.append(f"\n  {shown}")
    plural = "error" if len(details) == 1 else "errors"
    return BadRequest(f"{len(details)} validation {plural}:{''.join(lines)}", first)


def _is_internal(part: str) -> bool:
    return any(mark in part for mark in "[](){}") or part in ("str", "int", "list", "float", "bool", "none")


def _summary(value: object) -> object:
    if isinstance(value, (list, tuple, set, dict)):
        return f"<{type(value).__name__} of {len(value)} items>"
    return value[:200] if isinstance(value, str) else str(value)
