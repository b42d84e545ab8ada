"""What can go wrong with a vLLM server, each with a message that says what to do next.

Mistakes of the set-up are `ConfigError`s and found before work starts; failures of a running server are `ModelError`s,
so the engine that plays an episode records them as the policy's, and never as a reward.
"""

from __future__ import annotations

from agentenv.errors import ConfigError, ModelError


class VLLMNotInstalledError(ConfigError):
    """No Python interpreter that has vllm was found; the message says where was looked and how to get one."""


class MissingCapabilityError(ConfigError):
    """The server runs, but without what the asked mode needs; names every flag and environment variable to add."""


class ServerError(ModelError):
    """Root of the failures of a vLLM server."""


class ServerStartError(ServerError):
    """The managed server ended or was not ready in time; the message holds the end of its log."""


class ServerDiedError(ServerError):
    """A server that was ready no longer answers: its engine or its process is dead, or hangs."""


class ServerUnreachableError(ServerError):
    """A request got no answer: nothing listens, the connection was cut, or the time was up."""


class ServerRefusedError(ServerError):
    """A request was answered with an error status.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RouteMissingError(ServerRefusedError):
    """The server does not have the route: its vLLM is too old for it, or it was started without what enables it."""


class WeightUpdateError(ServerError):
    """New weights could not be served. Whether the old ones still are is for the message to say."""
