"""What a sandbox service may cost, and who may use it."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from agentenv.addresses import is_loopback

DEFAULT_PORT = 8200

Seconds = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class ServiceConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How sandboxes are served. All times are wall-clock seconds.

    Attributes:
        host: the address to listen on. Beyond this machine's own an `api_key` is needed.
        port: 0 takes a free one.
        api_key: what callers must send as `Authorization: Bearer KEY`; `None` asks for nothing.
        lease: a sandbox that nobody has used, and whose client has sent no heartbeat, for so long is closed.
        max_sandboxes: open at a time. One more is refused, never queued.
        max_running: executions at a time. max_queued: how many more may wait for their turn; one more is refused.
        queue_timeout: how long one may wait for its turn before it is refused.
        operation_timeout: anything that runs no program: making a sandbox, reading a file, ending it.
        request_timeout: how long a request body may take to arrive.
        max_body: bytes of one request.
    """

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=DEFAULT_PORT, ge=0, le=65535)
    api_key: pydantic.SecretStr | None = None
    lease: Seconds = 60.0
    max_sandboxes: pydantic.PositiveInt = 1024
    max_running: pydantic.PositiveInt = 64
    max_queued: pydantic.NonNegativeInt = 256
    queue_timeout: Seconds = 60.0
    operation_timeout: Seconds = 60.0
    request_timeout: Seconds = 30.0
    max_body: pydantic.PositiveInt = 32 * 1024 * 1024

    @pydantic.model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.api_key is not None and not self.api_key.get_secret_value():
            raise ValueError("the API key is empty")
        if self.api_key is None and not is_loopback(self.host):
            raise ValueError(f"listening on {self.host} needs an API key: anybody who reaches it could run programs")
        return self
