"""The token record: what was really sampled, token for token, and by which weights."""

from __future__ import annotations

from dataclasses import dataclass

from agentenv.errors import AgentenvError


class TokenRecordError(AgentenvError):
    """Token ids, logprobs and versions of one completion that do not fit together."""


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """Weights `version` sampled the completion's tokens `start … end - 1`."""

    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The ids of one model call. Training uses these and never tokenises text again.

    Attributes:
        prompt_ids: ids the model was conditioned on, shape [P].
        sampled_ids: ids it sampled, end-of-turn token included, shape [S].
        logprobs: log-probability (nats) of each sampled id under the distribution it was drawn from, shape [S].
        versions: spans of weight versions that cover 0 … S; one span unless weights changed mid-generation.
    """

    prompt_ids: tuple[int, ...]
    sampled_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    versions: tuple[VersionSpan, ...]

    def __post_init__(self) -> None:
        if len(self.logprobs) != len(self.sampled_ids):
            raise TokenRecordError(f"{len(self.sampled_ids)} sampled tokens but {len(self.logprobs)} logprobs")
        covered = 0
        for span in self.versions:
            if span.start != covered or span.end < span.start:
                raise TokenRecordError(f"version spans must follow one another without gaps, got {self.versions}")
            covered = span.end
        if covered != len(self.sampled_ids):
            raise TokenRecordError(f"version spans cover {covered} of {len(self.sampled_ids)} sampled tokens")
