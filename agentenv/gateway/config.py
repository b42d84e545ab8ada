"""What can be set about a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentenv.errors import ConfigError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """How a gateway serves.

    Attributes:
        upstreams: base URLs of the replicas, with or without `/v1`.
        host, port: where to listen; port 0 takes a free one.
        api_key: what clients must present as a bearer token or as `x-api-key`; empty for none.
        upstream_api_key: sent to the replicas as a bearer token; empty for none.
        model: asked of the replicas whatever model the agent names; `None` passes the agent's word on.
        max_body_bytes: a larger request is refused with 413.
        request_seconds: the longest a replica may take for an answer, from the request to its last byte.
        idle_seconds: the longest silence within a stream.
        connect_seconds: to reach a replica.
        pause_seconds: how long a call waits for replicas that answer 503 while their weights are replaced.
        lease_seconds: an open session that is not used for as long is ended as timed out.
        kept_bytes: room for ended sessions that can still be read back; the oldest make place.
        health_seconds: pause between two looks at a replica's health.
        strict_tools: whether a tool's `strict` is passed on. vLLM holds the calls of strict tools to a grammar: then
            log-probabilities are those of what the grammar left, not the model's own, and a turn that is spelt
            differently cannot be continued token for token. Some frameworks declare every tool strict, so it is not
            passed on unless asked for.
        policy: what the episodes say has played them; by default the first upstream.
    """

    upstreams: Sequence[str]
    host: str = LOOPBACK
    port: int = 8600
    api_key: str = ""
    upstream_api_key: str = ""
    model: str | None = None
    max_body_bytes: int = 32 * 2**20
    request_seconds: float = 600.0
    idle_seconds: float = 120.0
    connect_seconds: float = 5.0
    pause_seconds: float = 10.0
    lease_seconds: float = 900.0
    kept_bytes: int = 64 * 2**20
    health_seconds: float = 1.0
    strict_tools: bool = False
    policy: str = ""

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise ConfigError("a gateway needs at least one upstream: the base URL of a vLLM server")
        for name in ("max_body_bytes", "request_seconds", "idle_seconds", "connect_seconds", "lease_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"a port lies in 0 … 65535, got {self.port}")
