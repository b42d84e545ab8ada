"""The control plane: makes sandboxes, keeps them, ends them."""

from __future__ import annotations

import random

import aiohttp
import pydantic
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from agentenv.errors import ConfigError
from agentenv.sandbox import SandboxFailed
from agentenv_e2b.wire import NewSandbox, Problem, SandboxView, Timeout

BROKEN = (aiohttp.ClientError, TimeoutError, OSError)

_SECONDS = 60.0
_BUSY = frozenset({429, 503})
_LONGEST_PAUSE = 30.0


class Busy(SandboxFailed):
    """The service takes no more requests now. `retry_after` is how many seconds it advises to wait."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ControlPlane:
    """E2B's REST API.

    Args:
        http: what requests go through. api_key: sent as `X-API-Key`.
        patience: seconds in which a request that the service is too busy for is made again.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, api_key: str, patience: float) -> None:
        self._http, self.url = http, url
        self._headers = {"X-API-Key": api_key, "Content-Type": "application/json"}
        self._patience = patience
        self._jitter = random.Random()

    async def check(self) -> None:
        """Raises `ConfigError` where the service does not know the key, `SandboxFailed` where nobody answers."""
        await self._ask("GET", "/sandboxes")

    async def create(self, wanted: NewSandbox) -> SandboxView:
        """A new sandbox.

        Raises:
            ConfigError: there is no such template, or the key is not known.
            SandboxFailed: none could be made, or none in time.
        """
        body = await self._ask("POST", "/sandboxes", wanted)
        try:
            return SandboxView.model_validate_json(body)
        except pydantic.ValidationError as error:
            raise ConfigError(f"{self.url} does not speak E2B's API: it answered {body[:200]!r}") from error

    async def renew(self, id: str, seconds: int) -> bool:
        """Lets a sandbox live for so long from now on; whether there still is one."""
        return await self._ask("POST", f"/sandboxes/{id}/timeout", Timeout(timeout=seconds), missing=b"-") != b"-"

    async def kill(self, id: str) -> None:
        """Ends a sandbox, if it has not ended already."""
        await self._ask("DELETE", f"/sandboxes/{id}", missing=b"")

    async def _ask(
        self, method: str, path: str, body: pydantic.BaseModel | None = None, *, missing: bytes | None = None
    ) -> bytes:
        """The body of an answer; `missing` where the service says that there is no such thing."""
        data = None if body is None else body.model_dump_json(by_alias=True, exclude_none=True).encode()

        async def once() -> bytes:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            try:
                async with self._http.request(
                    method, f"{self.url}{path}", data=data, headers=self._headers, timeout=timeout
                ) as response:
                    answer = await response.read()
            except aiohttp.InvalidURL as error:
                raise ConfigError(f"{self.url!r} is no URL of an E2B service") from error
            except BROKEN as error:
                raise SandboxFailed(
                    f"the connection to {self.url} was lost: {error or type(error).__name__}"
                ) from error
            if response.status < 400:
                return answer
            if response.status == 404 and missing is not None:
                return missing
            raise self._error(response, answer)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Busy),
            wait=self._wait,
            stop=stop_before_delay(self._patience),
            reraise=True,
        )
        found: bytes = await retrying(once)
        return found

    def _error(self, response: aiohttp.ClientResponse, body: bytes) -> ConfigError | SandboxFailed:
        said = f"{self.url} answered {response.status}: {message_of(body)}"
        if response.status in _BUSY:
            advice = response.headers.get("Retry-After", "")
            return Busy(said, float(advice) if advice.isdecimal() else 1.0)
        if response.status in (401, 403):
            return ConfigError(f"{said} (api_key=, or E2B_API_KEY)")
        return ConfigError(said) if response.status < 500 else SandboxFailed(said)

    def _wait(self, state: RetryCallState) -> float:
        """As long as the service advises, and a little: so that those it sent away do not all come back at once."""
        error = state.outcome.exception() if state.outcome is not None else None
        return min(error.retry_after if isinstance(error, Busy) else 1.0, _LONGEST_PAUSE) + self._jitter.random()


def message_of(body: bytes) -> str:
    """What an answer that is an error says."""
    try:
        return Problem.model_validate_json(body).message
    except pydantic.ValidationError:
        return body[:200].decode("utf-8", "replace")
