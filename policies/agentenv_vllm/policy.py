"""`VLLMPolicy`: a vLLM server as a policy that can be evaluated and trained."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentenv.errors import ConfigError
from agentenv.messages import Message
from agentenv.policy.contract import Completion, Sampling, Session, TrainablePolicy
from agentenv.tools import ToolSpec
from agentenv_vllm.api import PauseMode, VLLMApi, server_root
from agentenv_vllm.errors import ServerError, WeightUpdateError
from agentenv_vllm.options import LogprobsMode
from agentenv_vllm.probe import Mode, Probe, probe
from agentenv_vllm.process import ManagedServer
from agentenv_vllm.versions import InFlight, VersionedClient, VersionGate
from agentenv_vllm.watch import HealthWatch, watching

if TYPE_CHECKING:
    import torch

    from agentenv_vllm.updates import WeightUpdater


@dataclass(frozen=True, slots=True)
class VLLMSettings:
    """What concerns both a server of ours and one that runs already.

    Attributes:
        update: how weights are replaced.
        pause: what becomes of requests in flight meanwhile.
        model: the name to ask for; `None` takes the server's first.
        model_folder: where the learner finds the model of a server that is not ours; by default where the server says
            it loaded it from.
        weights_folder: where updates are written that travel by files, which a server on another machine must see under
            the same path; by default a temporary folder.
        api_key: sent as a bearer token; by default the environment variable `VLLM_API_KEY`, if it is set.
        timeout: seconds one request may take.
        hang_seconds: a server that is silent for so long is given up.
    """

    update: Mode = Mode.FOLDER
    pause: PauseMode = PauseMode.KEEP
    model: str | None = None
    model_folder: Path | None = None
    weights_folder: Path | None = None
    api_key: str | None = None
    timeout: float = 240.0
    hang_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.update is Mode.EVALUATE:
            raise ConfigError("update names how weights are replaced: folder, transfer or lora")
        if self.pause is PauseMode.WAIT:
            raise ConfigError("pause is keep or abort; wait would stand still until the longest answer is there")


class VLLMPolicy(TrainablePolicy):
    """Serves by vLLM: by a server of ours for as long as the policy is open, or by one that runs already.

    Every answer is stamped with the version of the weights that sampled it, see `versions`. A dead or hung server fails
    the calls that wait for it within seconds, see `watch`.

    Args:
        server: a server of ours, not started yet; or the URL of one that runs, which is never stopped.
        settings: how it is used.

    Example:
        server = ManagedServer("runs/start", log=Path("runs/server.log"))
        async with VLLMPolicy(server) as policy:
            completion = await policy.complete([user("2 plus 3")], (), Sampling(max_tokens=16), Session("1", seed=0))
    """

    def __init__(self, server: ManagedServer | str, settings: VLLMSettings | None = None) -> None:
        self.settings = settings or VLLMSettings()
        self.server = server if isinstance(server, ManagedServer) else None
        self._url = None if isinstance(server, ManagedServer) else str(server_root(server))
        self.name = f"vllm:{self.server.folder}" if self.server is not None else f"vllm:{self._url}/v1"
        if self.settings.model is not None:
            self.name += f"#{self.settings.model}"
        self._gate = VersionGate()
        self._running: _Running | None = None
        self._updater: WeightUpdater[Any] | None = None
        self._stack = AsyncExitStack()

    @property
    def version(self) -> int:  # type: ignore[override]
        return self._gate.version

    @property
    def model_folder(self) -> Path:
        """Where the learner finds the model.

        Raises:
            ConfigError: of a server that is not ours, and whose folder cannot be seen from here.
        """
        told = self.settings.model_folder or (self.server.folder if self.server is not None else None)
        if told is not None:
            return told
        found = self._running.probe if self._running is not None else None
        root = next((each.root for each in found.served if each.id == found.model), None) if found else None
        if root is None or not (Path(root) / "config.json").is_file():
            raise ConfigError(
                f"{self._url} was started with the model {root!r}, which is no folder here; name the same model by the "
                "option model_folder"
            )
        return Path(root)

    @property
    def base_url(self) -> str:
        """Where any OpenAI client can reach the server, ending in /v1."""
        return self.server.base_url if self.server is not None else f"{self._url}/v1"

    @property
    def probe(self) -> Probe:
        """What the open policy's server can do."""
        return self._opened().probe

    async def open(self) -> None:
        """Starts the server if it is ours, and probes it.

        Raises:
            VLLMNotInstalledError: no Python has vllm.
            ServerStartError: our server ended or was not ready in time.
            ConfigError: no vLLM server listens at the URL, or it lacks what an evaluation needs.
        """
        async with AsyncExitStack() as stack:
            if self.server is not None:
                await stack.enter_async_context(self.server)
            key = self.settings.api_key if self.settings.api_key is not None else os.environ.get("VLLM_API_KEY")
            api = await stack.enter_async_context(VLLMApi(self.base_url, api_key=key))
            found = await probe(api, self.settings.model, in_full=False)
            found.require(Mode.EVALUATE)
            self._gate.version = await _served_version(api, found)
            client = VersionedClient(
                self.base_url, found.model, self._gate, api_key=key or "", timeout=self.settings.timeout
            )
            client.server_stamps = found.weight_versions
            await stack.enter_async_context(client)
            watch = HealthWatch(
                api,
                self.server,
                asks_engine="/is_paused" in found.routes,
                hang_seconds=self.settings.hang_seconds,
            )
            await stack.enter_async_context(watching(watch))
            self._running = _Running(api, found, client, watch)
            self._stack = stack.pop_all()

    async def close(self) -> None:
        self._running = None
        self._updater = None
        await self._stack.aclose()

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        running = self._opened()
        if running.watch.failure is None:
            running.check(tools, sampling)
        async with running.watch.guard():
            return await running.client.complete(messages, tools, sampling, session)

    async def publish(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        """Serves `weights` as `version` from the next sampled token on.

        Raises:
            MissingCapabilityError: the server lacks what this way to replace weights needs.
            WeightUpdateError: the server did not take them. If it is half updated, every later call fails, too.
        """
        running = self._opened()
        async with running.watch.guard():
            updater = self._updater or await self._start_updater(running)
            try:
                await updater.publish(weights, version, serving=self._replacing(running, updater, version))
            except BaseException as error:
                if updater.half_updated:
                    running.watch.fail(WeightUpdateError(f"the server's weights are half updated: {error}"))
                raise

    @asynccontextmanager
    async def _replacing(self, running: _Running, updater: WeightUpdater[Any], version: int) -> AsyncIterator[None]:
        """While the server's weights are replaced no request is sent, and its engine may be silent."""
        async with self._gate.updating(version):
            with running.watch.engine_busy():
                yield
            running.client.model = updater.model_name

    async def _start_updater(self, running: _Running) -> WeightUpdater[Any]:
        from agentenv_vllm.updates import UpdateFolders, make_updater

        found, settings = running.probe, self.settings
        if self.server is None:  # ours has what we started it with
            found = running.probe = await probe(running.api, settings.model)
        found.require(settings.update)
        updater = make_updater(
            settings.update.value,
            running.api,
            self.model_folder,
            found.model,
            settings.pause,
            backend=self.server.options.weight_transfer if self.server is not None else found.weight_transfer,
            folders=None if settings.weights_folder is None else UpdateFolders(settings.weights_folder),
        )
        self._stack.push_async_callback(updater.close)
        with running.watch.engine_busy():
            await updater.start(found.routes)
        if found.paused:  # whoever left it so; only now it answers
            found = running.probe = await probe(running.api, settings.model)
            found.require(settings.update)
        # An adapter's version is in its name; what the server says is that of the weights below it.
        whole = updater.in_flight is InFlight.UNTOUCHED
        running.client.in_flight = updater.in_flight
        running.client.server_stamps = found.weight_versions and not whole and "/update_weight_version" in found.routes
        running.client.salted = not whole
        self._gate.version = updater.version
        self._updater = updater
        return updater

    def _opened(self) -> _Running:
        if self._running is None:
            raise ConfigError("open the policy first: async with VLLMPolicy(...) as policy")
        return self._running


@dataclass(slots=True)
class _Running:
    """What an open policy works with."""

    api: VLLMApi
    probe: Probe
    client: VersionedClient
    watch: HealthWatch

    def check(self, tools: Sequence[ToolSpec], sampling: Sampling) -> None:
        """Raises `ServerError` for a call that this server would answer with something wrong, or never."""
        found = self.probe
        if found.paused:
            raise ServerError(
                f"the vLLM server at {found.url} is paused, perhaps in the middle of a weight update that failed. "
                "Train with it, which sends it all weights; or resume it: "
                f"curl -X POST {found.url}/resume"
            )
        if tools and found.tool_parser is False:
            raise ServerError(
                f"the vLLM server at {found.url} reads no tool calls: start it with --enable-auto-tool-choice "
                "--tool-call-parser NAME (hermes, llama3_json, ...)"
            )
        if sampling.tokens and found.logprobs_mode not in (LogprobsMode.PROCESSED_LOGPROBS, None):
            raise ServerError(
                f"the logprobs of the vLLM server at {found.url} are {found.logprobs_mode.value}, which are not of the "
                "distribution it samples from: start it with --logprobs-mode processed_logprobs"
            )


async def _served_version(api: VLLMApi, found: Probe) -> int:
    """The version that the server says it has; 0 when it does not say."""
    if "/weight_info" not in found.routes:
        return 0
    told = await api.weight_version()
    return int(told) if told.isdecimal() else 0
