"""The ways in which a model endpoint fails, and when the mock server should fail in one of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.support.mock_openai.wire import ChatRequest, Completion, ToolCall


class Fault(StrEnum):
    """One way to fail. The wire behaviour is the value's whole meaning; what a client should do is not decided here."""

    RATE_LIMITED = "rate_limited"
    """429 without a Retry-After header."""
    RATE_LIMITED_RETRY_AFTER = "rate_limited_retry_after"
    """429 with a Retry-After header of ``FaultRule.retry_after`` seconds."""
    SERVER_ERROR = "server_error"
    """500 with an OpenAI error body."""
    CONNECTION_CUT = "connection_cut"
    """The connection is reset before any header is sent."""
    STREAM_CUT = "stream_cut"
    """The connection is reset halfway through the body, streamed or not."""
    MALFORMED_JSON = "malformed_json"
    """200, content type JSON, and a body that ends in the middle of an object (streaming: one such event)."""
    MALFORMED_TOOL_ARGUMENTS = "malformed_tool_arguments"
    """The arguments of every tool call are cut, so they are no JSON. Without a scripted call, one is made of the first
    tool offered; without tools the fault cannot happen and does not fire."""
    FEWER_LOGPROBS_THAN_TOKENS = "fewer_logprobs_than_tokens"
    """Log-probabilities and ids agree with each other but are fewer than ``usage.completion_tokens``."""
    FEWER_LOGPROBS_THAN_IDS = "fewer_logprobs_than_ids"
    """One log-probability fewer than there are ``token_ids``."""
    NEVER_ANSWERS = "never_answers"
    """The request is accepted and then held until the client goes away or the server closes."""
    BAD_REQUEST = "bad_request"
    """400, as for a context that is too long."""
    UNAUTHORISED = "unauthorised"
    """401, as for a wrong API key."""
    WRONG_CONTENT_TYPE = "wrong_content_type"
    """200 with an HTML page, as a proxy in the way would send."""


BEFORE_THE_MODEL = frozenset(
    {
        Fault.RATE_LIMITED,
        Fault.RATE_LIMITED_RETRY_AFTER,
        Fault.SERVER_ERROR,
        Fault.CONNECTION_CUT,
        Fault.NEVER_ANSWERS,
        Fault.BAD_REQUEST,
        Fault.UNAUTHORISED,
        Fault.WRONG_CONTENT_TYPE,
    }
)
"""Faults that happen before the script is asked; a scripted reply is not used up by them."""

HTTP_ERRORS: dict[Fault, tuple[int, str, str]] = {
    Fault.RATE_LIMITED: (429, "rate_limit_exceeded", "Rate limit reached."),
    Fault.RATE_LIMITED_RETRY_AFTER: (429, "rate_limit_exceeded", "Rate limit reached."),
    Fault.SERVER_ERROR: (500, "server_error", "The server had an error while processing your request."),
    Fault.BAD_REQUEST: (400, "context_length_exceeded", "This model's maximum context length is 8 tokens."),
    Fault.UNAUTHORISED: (401, "invalid_api_key", "Incorrect API key provided."),
}
"""Status, error code and message of the faults that are an HTTP error."""


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Fail with ``fault`` whenever every condition given here holds.

    ``FaultRule(Fault.RATE_LIMITED, first_calls=2)`` rejects the first two calls of each session,
    ``FaultRule(Fault.SERVER_ERROR, probability=0.1)`` a tenth of all calls, and
    ``FaultRule(Fault.NEVER_ANSWERS, when=lambda request: request.session == "slow")`` one session for ever.
    """

    fault: Fault
    probability: float = 1.0
    first_calls: int | None = None
    """Only the first so many calls of each session."""
    first_requests: int | None = None
    """Only the first so many requests that reach the server."""
    when: Callable[[ChatRequest], bool] | None = None
    retry_after: float = 0.05
    """Seconds announced by ``RATE_LIMITED_RETRY_AFTER``."""

    def fires(self, request: ChatRequest, rng: random.Random) -> bool:
        """Whether this request fails. The generator is drawn from only if the other conditions hold."""
        if self.first_calls is not None and request.call >= self.first_calls:
            return False
        if self.first_requests is not None and request.number >= self.first_requests:
            return False
        if self.when is not None and not self.when(request):
            return False
        return self.probability >= 1.0 or rng.random() < self.probability


def first_to_fire(rules: Sequence[FaultRule], request: ChatRequest, rng: random.Random) -> FaultRule | None:
    """The first rule that fires for this request."""
    for rule in rules:
        if rule.fires(request, rng):
            return rule
    return None


def spoil(fault: Fault, completion: Completion, request: ChatRequest) -> Completion | None:
    """The completion with a fault in its content, or None if this fault cannot happen to this completion."""
    match fault:
        case Fault.MALFORMED_TOOL_ARGUMENTS:
            return _with_broken_arguments(completion, request)
        case Fault.FEWER_LOGPROBS_THAN_TOKENS:
            return replace(completion, token_ids=completion.token_ids[:-1], logprobs=completion.logprobs[:-1])
        case Fault.FEWER_LOGPROBS_THAN_IDS:
            return replace(completion, logprobs=completion.logprobs[:-1])
        case _:
            return completion


def _with_broken_arguments(completion: Completion, request: ChatRequest) -> Completion | None:
    calls = completion.tool_calls
    if not calls:
        if not request.tools:
            return None
        calls = (ToolCall(name=str(request.tools[0]["function"]["name"]), arguments='{"value": 1}'),)
    broken = tuple(replace(call, arguments=_cut(call.arguments)) for call in calls)
    return replace(completion, tool_calls=broken, finish_reason="tool_calls")


def _cut(arguments: str) -> str:
    """The longest proper prefix that is not JSON (the empty text at the latest)."""
    for end in range(len(arguments) - 1, 0, -1):
        try:
            json.loads(arguments[:end])
        except ValueError:
            return arguments[:end]
    return ""
