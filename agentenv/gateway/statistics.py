"""What a gateway has seen so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agentenv.gateway.calls import CallStatus, Continuation, ForkReason
from agentenv.messages import Wire

_RIGHT_PER_WRONG = 4


@dataclass(slots=True)
class GatewayStatistics:
    """Counters since the start.

    Attributes:
        calls: by how they ended. moved: calls that were given to another replica, or to the same one once more.
        prompt_tokens, sampled_tokens: of all answers.
        continuations, fork_reasons: how prompts followed from earlier calls.
        tokens_realigned: prompt tokens that were sent as they had been sampled where the render spells them otherwise.
        opened, ended: sessions, the latter by the status of their episode.
    """

    calls: Counter[CallStatus] = field(default_factory=Counter)
    moved: int = 0
    prompt_tokens: int = 0
    sampled_tokens: int = 0
    continuations: Counter[Continuation] = field(default_factory=Counter)
    fork_reasons: Counter[ForkReason] = field(default_factory=Counter)
    tokens_realigned: int = 0
    opened: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    def worth_a_guess(self, continuation: Continuation) -> bool:
        """Whether few of the turns so far came to something else than this: then it pays not to wait for the proof.

        A turn is merged unless it has to be realigned; it is realigned unless it forks.
        """
        worse = Continuation.REALIGNED if continuation is Continuation.MERGED else Continuation.FORKED
        return self.continuations[worse] * _RIGHT_PER_WRONG <= self.continuations[continuation]

    def to_wire(self) -> Wire:
        return {
            "calls": dict(self.calls),
            "moved": self.moved,
            "prompt_tokens": self.prompt_tokens,
            "sampled_tokens": self.sampled_tokens,
            "continuations": dict(self.continuations),
            "fork_reasons": dict(self.fork_reasons),
            "tokens_realigned": self.tokens_realigned,
            "sessions": {"opened": self.opened, "ended": dict(self.ended)},
        }
