"""The messages of SandboxFusion's `/run_code`, field by field as its clients send and read them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import pydantic

Timeout = Annotated[float, pydantic.Field(gt=0, le=3600, allow_inf_nan=False)]


class RunCode(pydantic.BaseModel, frozen=True):
    """Asks for code to be run in a sandbox of its own. Unknown fields are left unread, as SandboxFusion does."""

    code: str
    language: str
    stdin: str | None = None
    compile_timeout: Timeout = 10.0
    run_timeout: Timeout = 10.0
    memory_limit_MB: int = pydantic.Field(default=-1, description="Not above 0: as the service was told.")
    files: dict[str, pydantic.Base64Bytes | None] = pydantic.Field(default={}, description="Base64 by path.")
    fetch_files: list[str] = pydantic.Field(default=[], description="Paths that are wanted back afterwards.")


class RunStatus(StrEnum):
    """What became of a request: everything ended with exit code 0, something did not, or the sandbox failed."""

    SUCCESS = "Success"
    FAILED = "Failed"
    SANDBOX_ERROR = "SandboxError"


class CommandStatus(StrEnum):
    """How one command ended."""

    FINISHED = "Finished"
    ERROR = "Error"
    TIME_LIMIT_EXCEEDED = "TimeLimitExceeded"


class CommandResult(pydantic.BaseModel, frozen=True):
    """One command. `return_code` is null where its time ran out."""

    status: CommandStatus
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeReply(pydantic.BaseModel, frozen=True):
    """What came of a request. `files` holds base64 by path."""

    status: RunStatus
    message: str = ""
    compile_result: CommandResult | None = None
    run_result: CommandResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}
