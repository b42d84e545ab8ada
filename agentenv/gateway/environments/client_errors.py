"""What a client of an environment server raises, by what the server said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentenv.errors import AgentenvError, ConfigError, EnvironmentFailure, SandboxError
from agentenv.gateway.environments.refusals import Code
from agentenv.rollout.codec import failure_from_wire


class ServerUnreachable(SandboxError):
    """Nobody answers at the server's address."""


class ServerFull(SandboxError):
    """The server has as many sessions open as it may; nothing was queued."""


class SessionLost(SandboxError):
    """The session does not exist any more, or is not ours alone: the server was restarted, or the lease ran out.

    An episode cannot go on from here. What would go on is another episode, which the server refuses to pass off as it.
    """


_LOST = frozenset(
    {
        Code.STALE_EPOCH,
        Code.UNKNOWN_SESSION,
        Code.LEASE_EXPIRED,
        Code.SESSION_CLOSED,
        Code.SESSION_FAILED,
        Code.WRONG_TURN,
        Code.BUSY,
    }
)


def raise_error(reply: Mapping[str, Any], url: str) -> None:
    """Raises what an error reply stands for; does nothing for any other.

    Raises:
        BoundaryError: the environment failed, and this is how.
        SessionLost, ServerFull: see there.
        ConfigError: the request was refused.
    """
    error = reply.get("error")
    if error is None:
        return
    try:
        code, message, wire = Code(error["code"]), f"{url}: {error['message']}", error["failure"]
    except (KeyError, TypeError, ValueError) as problem:
        raise EnvironmentFailure(f"{url} is no environment server of this version: {error!r:.200}") from problem
    raise _error_of(code, message, wire, error["message"])


def _error_of(code: Code, message: str, wire: Mapping[str, Any] | None, bare: str) -> AgentenvError:
    if code in _LOST:
        return SessionLost(message)
    failure = failure_from_wire(wire)
    if failure is not None:
        return failure.to_error()
    if code is Code.AT_CAPACITY:
        return ServerFull(message)
    if code in (Code.SESSION_OVER, Code.INTERNAL):
        return EnvironmentFailure(message)
    return ConfigError(message)
