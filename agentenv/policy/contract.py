"""The policy contract: messages and tools in, one assistant message and its token record out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentenv.env import Env
from agentenv.episode import Usage
from agentenv.messages import Message
from agentenv.tokens import TokenRecord
from agentenv.tools import ToolSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. Fields left at `None` are not sent, so the endpoint's own default applies.

    `seed` is that of a whole run: a policy mixes the session's seed and the turn into it (`Session.request_seed`), so
    that siblings differ and the same run draws the same.

    `tokens=True` asks for token ids and logprobs, as training needs; endpoints that cannot give them answer without
    and the completion's `tokens` is `None`. `extra` goes into the request body as it is.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tokens: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """One episode, as a policy sees it.

    `env` is the running environment: only privileged policies (oracle, human at the terminal) look at it; nothing of
    it is ever sent over a wire. `seed` is the episode's, for policies that draw random numbers.
    """

    id: str
    seed: int
    env: Env | None = None

    def request_seed(self, run_seed: int, turn: int) -> int:
        """The seed of one request, 31 bits that depend on the three numbers alone.

        >>> Session("a", seed=1).request_seed(0, turn=0) == Session("b", seed=1).request_seed(0, turn=0)
        True
        """
        digest = hashlib.blake2b(f"{run_seed}/{self.seed}/{turn}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. `attempts` counts the requests it took; `model` is the name the endpoint gave itself."""

    message: Message
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    tokens: TokenRecord | None = None
    model: str = ""
    attempts: int = 1


class Policy(ABC):
    """Answers conversations. One policy serves many episodes at a time and keeps no state of any of them."""

    name: str
    """Short and stable; part of the run's record."""

    @abstractmethod
    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        """The next assistant message.

        Raises:
            ModelError: the endpoint failed after all retries or answered something unusable.
            ContextLengthError: the conversation does not fit the model's context.
        """

    async def open(self) -> None:
        """Connects or starts what the policy needs. Called once before the first episode."""

    async def close(self) -> None:
        """Frees it again. Called once, also after a failure."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class TrainablePolicy(Policy):
    """A policy whose weights a learner can replace while it serves."""

    version: int
    """The weight version now serving; 0 for the weights it started with."""

    @property
    @abstractmethod
    def model_folder(self) -> Path:
        """Where the model lies in `save_pretrained` layout; the learner starts from it."""

    @abstractmethod
    async def publish(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        """Serves `weights` (a state dict) as `version` from the next sampled token on."""
