"""What an environment server may cost, and who may use it."""

from __future__ import annotations

from typing import Self

import pydantic

from agentenv.addresses import is_loopback
from agentenv.rollout.config import Seconds

DEFAULT_PORT = 8100


class ServerConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How an environment is served. All times are wall-clock seconds.

    Attributes:
        host: the address to listen on. Beyond this machine's own an `api_key` is needed.
        port: 0 takes a free one.
        api_key: what callers must send as `Authorization: Bearer KEY`; `None` asks for nothing.
        answers: serve the tasks' answers and the oracle's moves. Whoever plays through such a server can cheat.
        max_sessions: sessions open at a time, those of `/rollout` included. One more is refused, never queued.
        lease: a session nobody has used, and whose client has sent no heartbeat, for so long is closed.
        environment_timeout: one reset (construction included) or one step.
        close_timeout: one close.
        request_timeout: how long a request body may take to arrive.
        cancel_grace, stall_threshold: as `RolloutConfig`.
        max_body: bytes of one request.
    """

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=DEFAULT_PORT, ge=0, le=65535)
    api_key: pydantic.SecretStr | None = None
    answers: bool = False
    max_sessions: pydantic.PositiveInt = 1024
    lease: Seconds = 60.0
    environment_timeout: Seconds = 60.0
    close_timeout: Seconds = 10.0
    request_timeout: Seconds = 30.0
    cancel_grace: Seconds = 1.0
    stall_threshold: Seconds = 0.25
    max_body: pydantic.PositiveInt = 16 * 1024 * 1024

    @pydantic.model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.api_key is not None and not self.api_key.get_secret_value():
            raise ValueError("the API key is empty")
        if self.api_key is None and not is_loopback(self.host):
            raise ValueError(f"listening on {self.host} needs an API key: anybody who reaches it could play")
        return self
