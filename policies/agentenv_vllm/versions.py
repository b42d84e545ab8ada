"""Which weights sampled an answer, also when they are replaced while it is being generated.

A request knows the version it was sent under. When an update overlaps with it, what its answer means depends on what
the server does with requests in flight (`InFlight`); where nobody can say which weights sampled which token, the
answer is not used and the request is sent again. A record never claims what is not known.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from agentenv_openai import Call, OpenAIPolicy, TryAgain

VERSION_HEADER = "X-Weight-Version"
"""What `agentenv_openai` reads the version from where the body does not tell it."""


class InFlight(StrEnum):
    """What becomes of requests that are in flight while weights are replaced."""

    ABORTED = "aborted"
    """They end unfinished; one that is finished was sampled by the old weights alone (pause mode abort)."""

    MIXED = "mixed"
    """They go on with the new weights, from a token that the server may or may not name (pause mode keep)."""

    UNTOUCHED = "untouched"
    """They are finished by the weights they began with (LoRA adapters that have a name for each version)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The state of the weights when a request was sent: their version, and how many updates had begun."""

    version: int
    updates: int


class VersionGate:
    """Requests pass it one by one; while weights are replaced it is shut, and what is sent later is sampled by the new.

    Attributes:
        version: of the weights that are served.
    """

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self._updates = 0
        self._open = asyncio.Event()
        self._open.set()
        self._one_at_a_time = asyncio.Lock()

    async def enter(self) -> Sent:
        """Waits while weights are being replaced."""
        while not self._open.is_set():
            await self._open.wait()
        return Sent(self.version, self._updates)

    def overlapped(self, sent: Sent) -> bool:
        """Whether an update began after the request was sent."""
        return self._updates != sent.updates

    @asynccontextmanager
    async def updating(self, version: int) -> AsyncIterator[None]:
        """For the block that replaces the weights. If it fails the gate stays as it was for the old version."""
        async with self._one_at_a_time:
            self._open.clear()
            self._updates += 1
            try:
                yield
                self.version = version
            finally:
                self._open.set()


class VersionedClient(OpenAIPolicy):
    """The OpenAI-compatible client whose answers are stamped with the version of the weights that sampled them.

    Attributes:
        in_flight: what the server does with requests in flight during an update.
        server_stamps: whether the server's own `weight_versions` are those that are published; without, they are not
            asked for.
        salted: sends the version as `cache_salt`, so that keys and values of other weights are never reused.
    """

    def __init__(
        self, base_url: str, model: str, gate: VersionGate, *, api_key: str | None = None, timeout: float = 240.0
    ) -> None:
        super().__init__(base_url, model, api_key=api_key, timeout=timeout)
        self._gate = gate
        self.in_flight = InFlight.MIXED
        self.salted = False
        self.server_stamps = False

    @property
    def server_stamps(self) -> bool:
        return "return_weight_versions" not in self._refused

    @server_stamps.setter
    def server_stamps(self, stamps: bool) -> None:
        field = frozenset({"return_weight_versions"})
        self._refused = self._refused - field if stamps else self._refused | field

    async def send(self, call: Call) -> tuple[int, Mapping[str, str], bytes]:
        asked_at = self._retry.clock()
        sent = await self._gate.enter()
        call.tries.queued += self._retry.clock() - asked_at
        if self.salted:
            extra = {"cache_salt": f"weights-{sent.version}", **call.sampling.extra}
            call = replace(call, sampling=replace(call.sampling, extra=extra))
        try:
            status, headers, raw = await super().send(call)
        except TryAgain as error:
            raise TryAgain(str(error), interrupted=self._gate.overlapped(sent)) from error
        if self._gate.overlapped(sent):
            self._check_whole(status, raw)
        return status, {VERSION_HEADER: str(sent.version)} if status == 200 else headers, raw

    def _check_whole(self, status: int, raw: bytes) -> None:
        """Raises `TryAgain` unless it is known which weights sampled the answer's tokens."""
        known = self.in_flight is not InFlight.MIXED or (self.server_stamps and _WEIGHT_VERSIONS.search(raw))
        if status != 200 or _ABORTED.search(raw) or not known:
            raise TryAgain("the weights were replaced while the answer was generated", interrupted=True)


# Of the JSON as servers write it. Inside of texts every quotation mark has a backslash, so these match no content.
_ABORTED = re.compile(rb'"finish_reason"\s*:\s*"abort"')
_WEIGHT_VERSIONS = re.compile(rb'"weight_versions"\s*:\s*\[\s*\{')
