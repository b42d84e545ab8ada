"""What a generation request is and what comes back, with the sequence the engine keeps between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agentenv_tiny.sampling import SamplingParameters


class Hold(StrEnum):
    """What a paused engine does not do."""

    NOTHING = "nothing"
    """It is not paused."""

    ADMISSION = "admission"
    """New requests wait; running ones are sampled to their end."""

    SAMPLING = "sampling"
    """Nothing is sampled: what runs stays as it is, and new requests wait."""


class FinishReason(StrEnum):
    """Why sampling ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """The sampled tokens `start` to `end` (half open, counted from the first sampled token) came from `version`."""

    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished (or, while streaming, growing) answer.

    `logprobs[i]` is the log-probability of `token_ids[i]` under the distribution it was drawn from, after temperature,
    top-k and top-p (greedy, or with the engine's `raw_logprobs`: the model's own distribution). `ranks[i]`, where asked
    for, counts the tokens at least as likely. `finish_reason` is None while more is to come.
    """

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    top_logprobs: Sequence[Sequence[tuple[int, float]]]
    versions: Sequence[VersionSpan]
    finish_reason: FinishReason | None
    error: Exception | None = None
    ranks: Sequence[int] = ()


@dataclass(slots=True, eq=False)
class ActiveSequence:
    """One request inside the engine. Only the engine's thread writes to it."""

    prompt_ids: Sequence[int]
    parameters: SamplingParameters
    seed: int
    loop: asyncio.AbstractEventLoop
    deliver: Callable[[Generation], None]
    """Called on `loop` with the finished answer, or after every token when `streams`."""
    streams: bool
    salt: str = ""
    """Cached prefixes are shared among requests of the same salt only."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    version_starts: list[tuple[int, int]] = field(default_factory=list)
    tail: bytes = b""
    """The last bytes of the text, kept only when there are stop strings to look for."""

    @property
    def cached_length(self) -> int:
        """Positions whose keys and values exist between steps: all tokens but the last sampled one."""
        return len(self.prompt_ids) + len(self.token_ids) - 1

    def snapshot(self, finish_reason: FinishReason | None, error: Exception | None = None) -> Generation:
        """The answer so far, as values that no longer change."""
        ends = [start for _, start in self.version_starts[1:]] + [len(self.token_ids)]
        return Generation(
            prompt_ids=self.prompt_ids,
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            top_logprobs=tuple(self.top_logprobs),
            versions=tuple(
                VersionSpan(version, start, end)
                for (version, start), end in zip(self.version_starts, ends, strict=True)
            )
            if self.version_starts
            else (),
            finish_reason=finish_reason,
            error=error,
            ranks=tuple(self.ranks),
        )
