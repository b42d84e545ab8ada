"""The embedded policy as one context manager: engine thread and HTTP server, gone without a trace at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import web

from agentenv_tiny.encoder import Renderer, render_natively, renderer_of
from agentenv_tiny.engine import Engine, EngineStatistics
from agentenv_tiny.errors import TinyPolicyError
from agentenv_tiny.server import PolicyServer
from agentenv_tiny.template import CHAT_TEMPLATE
from agentenv_tiny.tokenizer import END_TOKEN
from agentenv_tiny.vocabulary import Vocabulary
from agentenv_tiny.weights import DecoderShape, DecoderWeights, read_shape, read_weights

if TYPE_CHECKING:
    import torch

    from agentenv_tiny.model import TinyPolicy


class EmbeddedServer:
    """Serves a saved folder, or a policy in memory (its weights are copied), at `base_url` on the loopback interface.

        async with EmbeddedServer("runs/start") as server:
            client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")
            ...
            await server.update_weights(model.state_dict(), version=1)

    `slots` bounds how many requests are sampled at once, `threads` the sampling thread's share of the cores (None: as
    torch is set), `seed` the noise of requests that name none. Handlers run on the event loop that entered the context.
    A folder is served without importing transformers.
    """

    def __init__(
        self,
        policy: str | Path | TinyPolicy,
        *,
        model_name: str | None = None,
        port: int = 0,
        slots: int = 256,
        version: int = 0,
        seed: int | None = None,
        threads: int | None = None,
    ) -> None:
        weights, vocabulary, render = _open(policy)
        end_id = vocabulary.id_of(END_TOKEN)
        if end_id is None:
            raise TinyPolicyError(f"the tokenizer has no {END_TOKEN} token: make the policy with create_policy")
        self.model_name = model_name or (Path(policy).name if isinstance(policy, (str, Path)) else "tiny")
        self._port = port
        self._engine = Engine(
            weights,
            end_id=end_id,
            token_bytes=vocabulary.token_bytes,
            slots=slots,
            version=version,
            seed=seed,
            threads=threads,
        )
        self._threads = threads
        self._server = PolicyServer(
            self._engine, vocabulary, model_name=self.model_name, end_token=END_TOKEN, render=render
        )
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """Where an OpenAI client finds the API, ending in /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def version(self) -> int:
        """The version of the weights that sample the next token."""
        return self._engine.version

    def statistics(self) -> EngineStatistics:
        """The engine's counters."""
        return self._engine.statistics()

    async def update_weights(self, source: Mapping[str, torch.Tensor] | str | Path, version: int) -> None:
        """Serve new weights (a `state_dict` or a folder) from the next step on; requests in flight go on with them.

        Raises WeightsError, and serves on with the old weights, when the new ones do not fit or are not finite.
        """

        def load() -> Future[None]:
            import torch

            if self._threads is not None:
                torch.set_num_threads(self._threads)  # of this thread
            return self._engine.load_weights(source, version)

        await asyncio.wrap_future(await asyncio.to_thread(load))

    async def __aenter__(self) -> Self:
        self._engine.start()
        try:
            self._runner = web.AppRunner(
                self._server.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
            )
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=4096).start()
            self._port = self._runner.addresses[0][1]
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        """Stop sampling first, so that open requests are answered with an error instead of being waited for."""
        try:
            await asyncio.to_thread(self._engine.stop)
            if self._runner is not None:
                await self._runner.cleanup()
        finally:
            self._engine.stop()


def _open(policy: str | Path | TinyPolicy) -> tuple[DecoderWeights, Vocabulary, Renderer]:
    if isinstance(policy, (str, Path)):
        return read_weights(policy, read_shape(policy)), Vocabulary.from_folder(policy), renderer_of(policy)
    if policy.tokenizer.chat_template != CHAT_TEMPLATE:
        raise TinyPolicyError("a policy in memory must keep the package's chat template: save it and serve the folder")
    shape = DecoderShape.from_config(policy.model.config.to_dict())
    weights = DecoderWeights.from_state_dict(policy.model.state_dict(), shape)
    return weights, Vocabulary.from_backend(policy.tokenizer.backend_tokenizer), render_natively
