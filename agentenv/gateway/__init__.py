"""The HTTP side: an OpenAI-compatible endpoint that records what it forwards, and environments as servers.

Names are loaded on first use: a client of an environment does not pay for the gateway.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentenv.gateway.calls import CallStatus, Continuation, ForkReason, ModelCallRecord, Protocol
    from agentenv.gateway.client import FinishedSession, GatewayClient, GatewayClientError, GatewaySession, Trajectory
    from agentenv.gateway.config import GatewayConfig
    from agentenv.gateway.server import Gateway, GatewayError

_HOMES = {
    "agentenv.gateway.calls": ("CallStatus", "Continuation", "ForkReason", "ModelCallRecord", "Protocol"),
    "agentenv.gateway.client": (
        "FinishedSession",
        "GatewayClient",
        "GatewayClientError",
        "GatewaySession",
        "Trajectory",
    ),
    "agentenv.gateway.config": ("GatewayConfig",),
    "agentenv.gateway.server": ("Gateway", "GatewayError"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "CallStatus",
    "Continuation",
    "FinishedSession",
    "ForkReason",
    "Gateway",
    "GatewayClient",
    "GatewayClientError",
    "GatewayConfig",
    "GatewayError",
    "GatewaySession",
    "ModelCallRecord",
    "Protocol",
    "Trajectory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'agentenv.gateway' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
