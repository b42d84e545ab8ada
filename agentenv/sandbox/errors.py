"""How a sandbox fails, and how what is asked of it can be wrong."""

from __future__ import annotations

from agentenv.errors import AgentenvError, SandboxError
from agentenv.sandbox.result import ExecResult


class SandboxFailed(SandboxError):
    """The sandbox itself failed: never the program's fault, and never a result that could be taken for one.

    Attributes:
        result: what is known of the execution, with the cause `INFRA`; `None` where none was under way.
    """

    def __init__(self, message: str, result: ExecResult | None = None) -> None:
        super().__init__(message)
        self.result = result


class SandboxFileError(AgentenvError):
    """A file of a sandbox that cannot be read or written as asked: it is missing, a folder, too large, forbidden."""
