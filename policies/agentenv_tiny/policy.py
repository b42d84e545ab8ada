"""`EmbeddedPolicy`: the embedded server and the OpenAI-compatible client in front of it, as one trainable policy.

Nothing is short-circuited: every answer crosses HTTP exactly as it would from a vLLM server, so what works here works
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv.errors import ConfigError
from agentenv.messages import Message
from agentenv.policy.contract import Completion, Sampling, Session, TrainablePolicy
from agentenv.tools import ToolSpec
from agentenv_openai.policy import OpenAIPolicy
from agentenv_tiny.embedded import EmbeddedServer

if TYPE_CHECKING:
    import torch


class EmbeddedPolicy(TrainablePolicy):
    """Serves a folder in `save_pretrained` layout on a loopback port for as long as it is open.

    Args:
        folder: as `create_policy` or a training run wrote it.
        slots: how many completions are sampled at once.
        threads: torch threads of the sampling engine; `None` leaves torch's own setting.

    Example:
        create_policy("runs/start")
        async with EmbeddedPolicy("runs/start") as policy:
            completion = await policy.complete([user("2 plus 3")], (), Sampling(max_tokens=16), Session("1", seed=0))
    """

    def __init__(self, folder: str | Path, *, slots: int = 256, threads: int | None = None) -> None:
        self._folder = Path(folder)
        if not (self._folder / "config.json").is_file():
            raise ConfigError(
                f"there is no model in {self._folder}; if another run trains it, start that one first; an untrained "
                f"one is made by: python -m agentenv_tiny {folder}"
            )
        self.name = f"tiny:{self._folder}"
        self._slots = slots
        self._threads = threads
        self._server: EmbeddedServer | None = None
        self._client: OpenAIPolicy | None = None

    @property
    def version(self) -> int:  # type: ignore[override]
        return 0 if self._server is None else self._server.version

    @property
    def model_folder(self) -> Path:
        return self._folder

    @property
    def base_url(self) -> str:
        """Where any OpenAI client can reach the open policy."""
        return self._opened()[0].base_url

    async def open(self) -> None:
        server = EmbeddedServer(self._folder, slots=self._slots, threads=self._threads)
        await server.__aenter__()
        client = OpenAIPolicy(server.base_url, model=server.model_name, api_key="")
        try:
            await client.open()
        except BaseException:
            await server.__aexit__(None, None, None)
            raise
        self._server, self._client = server, client

    async def close(self) -> None:
        server, client = self._server, self._client
        self._server = self._client = None
        try:
            if client is not None:
                await client.close()
        finally:
            if server is not None:
                await server.__aexit__(None, None, None)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        return await self._opened()[1].complete(messages, tools, sampling, session)

    async def publish(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        await self._opened()[0].update_weights(weights, version)

    def _opened(self) -> tuple[EmbeddedServer, OpenAIPolicy]:
        if self._server is None or self._client is None:
            raise ConfigError("open the policy first: async with EmbeddedPolicy(...) as policy")
        return self._server, self._client


def make_policy(
    argument: str | None = None,
    *,
    create: bool = False,
    seed: int = 0,
    slots: int = 256,
    threads: int | None = None,
) -> EmbeddedPolicy:
    """A small model made from scratch, served in this process: tiny:FOLDER.

    With `create=True` an untrained one is made, from `seed`, where the folder holds none.
    """
    if argument is None:
        raise ConfigError("name the folder of the model: tiny:FOLDER (make one with: python -m agentenv_tiny FOLDER)")
    if create and not (Path(argument) / "config.json").is_file():
        from agentenv_tiny.model import TinyConfig, create_policy

        create_policy(argument, TinyConfig(seed=seed))
    return EmbeddedPolicy(argument, slots=slots, threads=threads)
