"""`WeightUpdater`: replaces the weights of a server that goes on serving, and never serves half of an update."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.errors import (
    MissingCapabilityError,
    ServerDiedError,
    ServerError,
    ServerRefusedError,
    WeightUpdateError,
)
from agentenv_vllm.versions import InFlight

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("agentenv.policy.vllm")

Parcel = TypeVar("Parcel")
"""What a backend makes of an update before it is sent."""


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """How updates are made.

    Attributes:
        pause: what becomes of requests in flight. `KEEP`: they are frozen and go on with the new weights, their keys
            and values computed again. `ABORT`: they end with `finish_reason: "abort"` and their tokens so far.
        sends: how often an update is sent in full before it is given up.
        timeout: longest wait for one phase, in seconds.
        verify: compares what the server holds with what was sent, before it goes on; costs a hash of all weights.
    """

    pause: PauseMode = PauseMode.KEEP
    sends: int = 3
    timeout: float = 600.0
    verify: bool = True

    def __post_init__(self) -> None:
        if self.pause is PauseMode.WAIT:
            raise ValueError("pause=WAIT would wait for the longest request: choose KEEP or ABORT")
        if self.sends < 1 or self.timeout <= 0:
            raise ValueError(f"sends must be at least 1 and timeout above 0, got {self.sends} and {self.timeout}")


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update took.

    Attributes:
        version: now served.
        staging_s: seconds of checking and writing, while the server went on.
        serving_s: seconds from the first request to the server until the new weights were served.
        sends: full sends it took; above 1, a failure was repaired.
        verified: parameters that were found to be what was sent.
        unverified: parameters that the server could not say anything about.
    """

    version: int
    staging_s: float
    serving_s: float
    sends: int
    verified: int
    unverified: int


@dataclass(frozen=True, slots=True)
class Checked:
    """How many parameters were found to be what was sent, and of how many nobody could say."""

    verified: int = 0
    unverified: int = 0


class WeightUpdater(ABC, Generic[Parcel]):
    """Replaces the weights of one server.

    Args:
        api: an open client of the server.
        model_folder: the model the server was started with.
        model_name: what clients ask for.

    Attributes:
        version: of the weights that are served.

    Example:
        updater = FolderUpdater(api, "runs/start", "policy")
        await updater.start(probe.routes)
        report = await updater.publish(model.state_dict(), version=1)
    """

    def __init__(
        self, api: VLLMApi, model_folder: str | Path, model_name: str, settings: UpdateSettings | None = None
    ) -> None:
        self.settings = settings or UpdateSettings()
        self.version = 0
        self._api = api
        self._model_folder = Path(model_folder)
        self._model_name = model_name
        self._routes: Collection[str] = ()
        self._one_at_a_time = asyncio.Lock()
        self._last: tuple[Parcel, int] | None = None

    @property
    @abstractmethod
    def needs(self) -> Mapping[str, str]:
        """Routes this backend cannot do without, and how a server gets them."""

    @property
    def model_name(self) -> str:
        """What requests must ask for, to be answered by the weights last published."""
        return self._model_name

    @property
    def half_updated(self) -> bool:
        """Whether an update failed after it touched the server's weights and was not repaired; the server is paused."""
        return False

    @property
    def in_flight(self) -> InFlight:
        """What becomes of requests in flight during an update."""
        return InFlight.ABORTED if self.settings.pause is PauseMode.ABORT else InFlight.MIXED

    async def start(self, routes: Collection[str]) -> None:
        """Finds out what the server holds; needed once, and again after the server was started again.

        A server that an earlier run left paused, or with other weights than the model folder's, gets those of the
        folder as version 0, so that learner and server begin with the same.

        Args:
            routes: paths the server has (`/pause`, ...), as its probe found them.

        Raises:
            MissingCapabilityError: the server lacks a route; the message names the flags to add.
            WeightUpdateError: the server holds other weights and they could not be replaced.
        """
        self._routes = routes
        missing = [f"{route} ({how})" for route, how in self.needs.items() if route not in routes]
        if missing:
            raise MissingCapabilityError(f"{self._api.root}: weights cannot be replaced without {', '.join(missing)}")
        async with self._one_at_a_time:
            await self._begin()

    async def publish(
        self,
        weights: Mapping[str, torch.Tensor],
        version: int,
        *,
        serving: AbstractAsyncContextManager[object] | None = None,
    ) -> UpdateReport:
        """Serves `weights` as `version` from the next sampled token on.

        Args:
            weights: all of the model's tensors as in its checkpoint (`model.state_dict()`), on any device; they must
                not change until the call returns.
            serving: entered when the weights are checked and written, and the server is about to be touched.

        Raises:
            WeightsMisfitError: they do not fit the served model; nothing was touched.
            WeightUpdateError: the server did not take them. `half_updated` and the message say whether it still serves
                the old ones, or is paused for good.
            ServerDiedError: it is dead.
        """
        async with self._one_at_a_time:
            began = time.perf_counter()
            parcel = await self._stage(weights, version)
            staged = time.perf_counter()
            async with serving or nullcontext():
                return await self._serve(parcel, version, staged - began)

    async def repair(self) -> UpdateReport:
        """Sends the last update again, in full: to a server left half updated, or started again after a crash.

        Raises `WeightUpdateError` when there is none to send, or it fails again.
        """
        async with self._one_at_a_time:
            if self._last is None:
                raise WeightUpdateError("There is no update to send again: publish the weights.")
            return await self._serve(*self._last, 0.0)

    async def close(self) -> None:
        """Frees what updates needed. A half-updated server stays paused."""

    # --- what a backend adds ----------------------------------------------------------------------------------------

    @abstractmethod
    async def _begin(self) -> None:
        """What `start` does once the routes are there."""

    @abstractmethod
    async def _stage(self, weights: Mapping[str, torch.Tensor], version: int) -> Parcel:
        """Checks the weights and makes them ready to be sent. The server is not touched."""

    @abstractmethod
    async def _attempt(self, parcel: Parcel, version: int) -> Checked:
        """Sends an update once and sees to it that it is served. Sets `_doing` as it goes.

        Raises `ServerError` or `TimeoutError` when it is not.
        """

    @abstractmethod
    async def _served(self, parcel: Parcel) -> None:
        """Called when the update is served."""

    async def _let_go(self) -> bool:
        """Called when an update ends early: a server whose weights are whole goes on serving. Whether it does."""
        return True

    async def _hold(self) -> bool:
        """Called when a half-updated server is given up: sees to it that it answers nothing. Whether it is certain."""
        return False

    # --- sends and failures -----------------------------------------------------------------------------------------

    async def _serve(self, parcel: Parcel, version: int, staging_s: float) -> UpdateReport:
        self._last = (parcel, version)
        began = time.perf_counter()
        failures: list[str] = []
        for send in range(1, self.settings.sends + 1):
            self._doing = "beginning"
            try:
                checked = await self._attempt(parcel, version)
            except (ServerError, TimeoutError) as error:
                failures.append(f"{self._doing}: {str(error) or f'not done in {self.settings.timeout:g} s'}")
                _LOG.warning("version %d, send %d of %d: %s", version, send, self.settings.sends, failures[-1])
                await self._require_alive(version, failures)
            except BaseException:
                await self._let_go()
                raise
            else:
                self.version = version
                await self._served(parcel)
                seconds = time.perf_counter() - began
                return UpdateReport(version, staging_s, seconds, send, checked.verified, checked.unverified)
        raise await self._given_up(version, failures)

    async def _require_alive(self, version: int, failures: list[str]) -> None:
        """Raises `ServerDiedError` when no send can help any more."""
        for attempt in range(3):
            try:
                await self._api.health(timeout=10.0)
                return
            except ServerError as error:
                if attempt == 2 or isinstance(error, ServerRefusedError):
                    raise ServerDiedError(
                        f"The server died in the update to version {version} and serves nothing; start it again and "
                        f"publish. {error} What failed first: {failures[0]}"
                    ) from error

    async def _given_up(self, version: int, failures: list[str]) -> WeightUpdateError:
        told = "; then ".join(dict.fromkeys(failures))
        tried = f"The update to version {version} failed {len(failures)} times: {told}."
        if not self.half_updated and await self._let_go():
            return WeightUpdateError(
                f"{tried} The server's weights were not touched: it serves version {self.version}."
            )
        if not self.half_updated:
            return WeightUpdateError(f"{tried} The server's weights were not touched, but it stays paused: restart it.")
        state = "is paused" if await self._hold() else "MAY BE ANSWERING: stop it"
        return WeightUpdateError(
            f"{tried} The server's weights are neither the old nor the new ones; it {state}. Restart it, or call "
            "repair() once the cause is gone."
        )
