"""Sessions: the calls of one agent's attempt at one task, kept small while they are open."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
import uuid
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentenv.episode import EpisodeKey, Usage
from agentenv.gateway.calls import CallStatus, Continuation, ForkReason, ModelCallRecord, Protocol
from agentenv.gateway.continuation import Conversations
from agentenv.gateway.packed import ID_BYTES, MessageTree, PackedTokens, SharedBytes, shared_ids
from agentenv.gateway.protocols.common import reasoning_of
from agentenv.gateway.router import Replica
from agentenv.gateway.wirejson import dumps, loads
from agentenv.messages import Wire
from agentenv.rewards import Component
from agentenv.tasks import Task
from agentenv.tokens import VersionSpan

MAX_ID_CHARACTERS = 200
_NO_TOOLS = b"[]"


def problem_with_id(id: str) -> str:
    """Why a text cannot name a session; empty for one that can.

    A name is 1 to 200 printable characters without slash and backslash, and not `.` or `..`; in a URL it is
    percent-encoded where URLs ask for it.
    """
    if not 0 < len(id) <= MAX_ID_CHARACTERS:
        return f"a session id has 1 to {MAX_ID_CHARACTERS} characters, this one has {len(id)}"
    if id in (".", "..") or "/" in id or "\\" in id or not id.isprintable():
        return "a session id is made of printable characters other than / and \\, and is not . or .."
    return ""


@dataclass(slots=True, eq=False)
class Call:
    """One model call as a session keeps it: numbers into the session's tables instead of values of its own.

    Attributes:
        conversation, answer: the messages sent, and the same with the answer; numbers in the session's message tree.
        tools: number in the session's table of tools.
        status: `None` while the call is under way.
        parent: the earlier call whose answer this conversation goes on from.
        base, shared, prompt: the prompt ids are the first `shared` ids (prompt and sampled) of `base`, then `prompt`.
    """

    index: int
    protocol: Protocol
    conversation: int
    tools: int
    sampling: Mapping[str, Any]
    started_at: float = field(default_factory=time.time)
    seconds: float = 0.0
    status: CallStatus | None = None
    parent: int | None = None
    answer: int | None = None
    finish_reason: str = ""
    usage: Usage | None = None
    base: Call | None = None
    shared: int = 0
    prompt: bytes | None = None
    sampled: bytes = b""
    logprobs: array[float] | None = None
    versions: tuple[VersionSpan, ...] = ()
    model: str = ""
    continuation: Continuation = Continuation.OPENING
    fork_reason: ForkReason | None = None
    replica: str = ""
    error: str = ""

    @property
    def tokens(self) -> PackedTokens | None:
        """The token record, put together again."""
        if self.prompt is None or self.logprobs is None:
            return None
        prompt = self.ids()[: -len(self.sampled)] if self.sampled else self.ids()
        return PackedTokens(prompt, self.sampled, self.logprobs, self.versions)

    def ids(self) -> bytes:
        """Prompt and sampled ids, packed."""
        pieces: list[bytes] = []
        call: Call | None = self
        end: int | None = None
        while call is not None and end != 0:
            own = (call.prompt or b"") + call.sampled
            start = call.shared * ID_BYTES
            if end is None or end > start:
                pieces.append(own if end is None else own[: end - start])
                end = start
            call = call.base
        return b"".join(reversed(pieces))

    def keep_tokens(self, tokens: PackedTokens, base: Call | None) -> None:
        """Remembers a record as what it adds to the ids of another call."""
        shared = 0 if base is None else shared_ids(base.ids(), tokens.prompt)
        self.base, self.shared = (base, shared) if shared else (None, 0)
        self.prompt = tokens.prompt[shared * ID_BYTES :]
        self.sampled, self.logprobs, self.versions = tokens.sampled, tokens.logprobs, tokens.versions


class Session:
    """One agent's attempt, from its first call or its creation to its end.

    Attributes:
        numbered: whether the gateway chooses the sibling number when the session ends.
        last_used: on the monotonic clock. ended: whether it takes no more calls.
        replica: the one that answered last. rewards: components by the call they are given to.
        tasks: the calls under way.
    """

    __slots__ = (
        "_answered",
        "_responses",
        "_samplings",
        "_shared",
        "_tools",
        "calls",
        "conversations",
        "created_at",
        "ended",
        "episode_id",
        "id",
        "key",
        "last_used",
        "messages",
        "metadata",
        "numbered",
        "replica",
        "rewards",
        "seed",
        "task",
        "tasks",
    )

    def __init__(
        self, id: str, task: Task, key: EpisodeKey, seed: int, metadata: Mapping[str, Any], shared: SharedBytes
    ) -> None:
        self.id = id
        self.episode_id = uuid.uuid4().hex
        self.task = task
        self.key = key
        self.numbered = key.sibling < 0
        self.seed = seed
        self.metadata = metadata
        self.created_at = time.time()
        self.last_used = time.monotonic()
        self.ended = False
        self.replica: Replica | None = None
        self.calls: list[Call] = []
        self.messages = MessageTree(shared)
        self.conversations = Conversations()
        self.rewards: dict[int, list[Component]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self._shared = shared
        self._tools: list[bytes] = [_NO_TOOLS]
        self._samplings: list[Mapping[str, Any]] = []
        self._answered: dict[int, int] = {}
        self._responses: dict[str, tuple[Call, int]] = {}

    @property
    def header(self) -> str:
        """The id as a header carries it: percent-encoded where it must be."""
        return urllib.parse.quote(self.id, safe=":@")

    @property
    def in_flight(self) -> int:
        return len(self.tasks)

    def begin_call(
        self, protocol: Protocol, messages: Sequence[Wire], tools: Sequence[Wire], sampling: Mapping[str, Any]
    ) -> Call:
        """Notes the arrival of a call."""
        node = self.messages.add_all(messages)
        call = Call(len(self.calls), protocol, node, self._listed(tools), self._sampling(sampling))
        while node != MessageTree.ROOT:
            if node in self._answered:
                call.parent = self._answered[node]
                break
            node = self.messages.parent(node)
        self.calls.append(call)
        return call

    def sibling_call(self, call: Call) -> Call:
        """A further record of the same request: one for each choice of an answer with several."""
        sibling = Call(len(self.calls), call.protocol, call.conversation, call.tools, call.sampling)
        for name in ("parent", "started_at", "model", "continuation", "fork_reason", "replica"):
            setattr(sibling, name, getattr(call, name))
        self.calls.append(sibling)
        return sibling

    def keep_answer(self, call: Call, message: Wire, tokens: PackedTokens | None) -> None:
        """Notes what was answered."""
        call.answer = self.messages.add(call.conversation, message)
        self._answered[call.answer] = call.index
        if tokens is not None:
            before = call.parent if call.parent is not None else call.index - 1
            call.keep_tokens(tokens, self.calls[before] if before >= 0 else None)

    def remember_response(self, id: str, call: Call, own_messages: int) -> None:
        """Notes the id of a response; the first `own_messages` of its messages belong to that request alone."""
        self._responses[id] = call, own_messages

    def conversation_of_response(self, id: str) -> Sequence[Wire] | None:
        """The messages that led to a response, and its answer; `None` for an unknown id."""
        call, own_messages = self._responses.get(id, (None, 0))
        if call is None or call.answer is None:
            return None
        return self.messages.messages(call.answer)[own_messages:]

    def record(self, call: Call) -> ModelCallRecord:
        """A call with all its values."""
        tokens = call.tokens
        return ModelCallRecord(
            id=f"{self.id}/{call.index}",
            session=self.id,
            index=call.index,
            protocol=call.protocol,
            messages=self.messages.messages(call.conversation),
            tools=self.tools_of(call),
            sampling=call.sampling,
            status=call.status or CallStatus.OK,
            answer=None if call.answer is None else self.messages.message(call.answer),
            finish_reason=call.finish_reason,
            usage=call.usage or Usage(),
            tokens=None if tokens is None else tokens.unpacked(),
            model=call.model,
            continuation=call.continuation,
            fork_reason=call.fork_reason,
            replica=call.replica,
            error=call.error,
            started_at=call.started_at,
            seconds=call.seconds,
        )

    def tools_of(self, call: Call) -> Sequence[Wire]:
        """The tools of a call."""
        found: Sequence[Wire] = loads(self._tools[call.tools])
        return found

    def has_reasoned(self, call: Call) -> bool:
        """Whether the answer that a call goes on from came with reasoning."""
        answer = None if call.parent is None else self.calls[call.parent].answer
        return answer is not None and bool(reasoning_of(self.messages.message(answer)))

    def new_messages(self, call: Call) -> list[Wire]:
        """The messages that were new with a call: those after its parent's answer, or all of them."""
        since = MessageTree.ROOT if call.parent is None else self.calls[call.parent].answer
        return self.messages.messages(call.conversation, MessageTree.ROOT if since is None else since)

    def give_reward(self, index: int | None, components: Sequence[Component]) -> int:
        """Adds components to the reward of a call, by default the latest; returns which call it was.

        Raises:
            IndexError: there is no such call.
        """
        index = len(self.calls) - 1 if index is None else index
        if not 0 <= index < len(self.calls):
            raise IndexError(index)
        self.rewards.setdefault(index, []).extend(components)
        return index

    def size(self) -> int:
        """About how many bytes the session holds."""
        tokens = sum(len(call.prompt or b"") + len(call.sampled) + 8 * len(call.logprobs or ()) for call in self.calls)
        return 2000 + 600 * len(self.calls) + tokens + self.messages.size()

    def _listed(self, tools: Sequence[Wire]) -> int:
        return _position(self._tools, self._shared.keep(dumps(tools))) if tools else 0

    def _sampling(self, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._samplings[_position(self._samplings, sampling)]


def _position(known: list[Any], value: Any) -> int:
    """Where an equal value is kept, kept now if it is new. The latest are looked at first."""
    for position in range(len(known) - 1, -1, -1):
        if known[position] == value:
            return position
    known.append(value)
    return len(known) - 1
