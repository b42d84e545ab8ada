"""What the gateway writes down of one model call, whichever protocol it came by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agentenv.episode import Usage
from agentenv.messages import Wire
from agentenv.tokens import TokenRecord


class Protocol(StrEnum):
    """The API an agent spoke."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"


class CallStatus(StrEnum):
    """How a call ended.

    `OK`: the whole answer reached the client.
    `REFUSED`: the upstream answered 4xx.
    `UPSTREAM_ERROR`: 5xx, an unreadable answer, a dead replica, or a stream that was cut.
    `UPSTREAM_TIMEOUT`: no answer in time.
    `ABORTED`: the server gave the generation up (weights were replaced); what it had sampled is kept.
    `CLIENT_GONE`: the client disconnected before the end; the upstream request was aborted.
    `BAD_TOKENS`: the answer was delivered, but its token ids, logprobs and counts do not fit together.
    """

    OK = "ok"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    ABORTED = "aborted"
    CLIENT_GONE = "client_gone"
    BAD_TOKENS = "bad_tokens"


class Continuation(StrEnum):
    """How a call's prompt relates to the tokens of the session's earlier calls.

    `OPENING`: the session's first call, or one that shares no conversation with an earlier call (a sub-agent).
    `MERGED`: the rendered prompt starts with an earlier call's prompt and sampled ids as it is.
    `REALIGNED`: the render spells an earlier answer in other tokens; the sampled ones were put in their place.
    `FORKED`: the conversation goes on from an earlier call, but not token for token: a new branch begins.
    """

    OPENING = "opening"
    MERGED = "merged"
    REALIGNED = "realigned"
    FORKED = "forked"


class ForkReason(StrEnum):
    """Why a conversation that goes on could not go on token for token.

    `HISTORY_EDITED`: the client changed what was said. `TOOLS_CHANGED`: it changed what the template lists.
    `TEMPLATE_REWRITES_HISTORY`: the template writes an earlier part otherwise than it was (it drops reasoning, say).
    `ANSWER_CUT_SHORT`: the answer ended at a limit or a stop string, and is written down otherwise than sampled.
    `NO_TOKEN_RECORD`: nobody knows the tokens of the answer it goes on from.
    `CANNOT_RENDER`: the server failed to render. `CANNOT_READ_ANSWER`: it cannot make messages of token ids (vLLM
    without `--enable-scale-out`). `CHAT_ONLY`: the request asks for what only the chat route does (images, grammars).
    """

    HISTORY_EDITED = "history_edited"
    TOOLS_CHANGED = "tools_changed"
    TEMPLATE_REWRITES_HISTORY = "template_rewrites_history"
    ANSWER_CUT_SHORT = "answer_cut_short"
    NO_TOKEN_RECORD = "no_token_record"
    CANNOT_RENDER = "cannot_render"
    CANNOT_READ_ANSWER = "cannot_read_answer"
    CHAT_ONLY = "chat_only"


@dataclass(frozen=True, slots=True)
class ModelCallRecord:
    """One model call of a session.

    Attributes:
        id: unique in the gateway. session: whose call it is. index: order of arrival in the session, from 0.
        messages: the conversation as the agent sent it, in OpenAI's chat format; for `completions` a single user
            message with the prompt's text, or none where the prompt was token ids.
        tools: in OpenAI's chat format.
        answer: the assistant message in OpenAI's chat format; `None` where there was none.
        tokens: `None` where nothing was sampled or the record does not fit together.
        continuation, fork_reason: how the prompt relates to earlier calls.
        replica: base URL of the server that answered. error: the failure in words.
        started_at: seconds since the epoch. seconds: until the client had all of it.
    """

    id: str
    session: str
    index: int
    protocol: Protocol
    messages: Sequence[Wire]
    tools: Sequence[Wire]
    sampling: Mapping[str, Any]
    status: CallStatus
    answer: Wire | None = None
    finish_reason: str = ""
    usage: Usage = Usage()  # noqa: RUF009 - immutable
    tokens: TokenRecord | None = None
    model: str = ""
    continuation: Continuation = Continuation.OPENING
    fork_reason: ForkReason | None = None
    replica: str = ""
    error: str = ""
    started_at: float = 0.0
    seconds: float = 0.0
