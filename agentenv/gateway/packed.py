"""Token records at four bytes a token, and conversations kept once however often an agent sends them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from agentenv.gateway.wirejson import dumps, loads, spelling
from agentenv.messages import Wire
from agentenv.tokens import TokenRecord, TokenRecordError, VersionSpan

ID_BYTES = 4
_OPENING = 2
"""The first messages of a session, which other sessions often have as well."""


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """A token record: ids as unsigned 32-bit integers, logprobs as doubles, or as floats where that loses nothing."""

    prompt: bytes
    sampled: bytes
    logprobs: array[float]
    versions: tuple[VersionSpan, ...]

    @classmethod
    def of(
        cls,
        prompt_ids: Sequence[int],
        sampled_ids: Sequence[int],
        logprobs: Sequence[float],
        versions: tuple[VersionSpan, ...],
    ) -> PackedTokens:
        """Packs and checks what a server sent.

        Raises:
            TokenRecordError: ids that are no whole numbers, or counts that do not fit together.
        """
        prompt, sampled = _ids("prompt_token_ids", prompt_ids), _ids("token_ids", sampled_ids)
        if len(sampled) != len(logprobs):
            raise TokenRecordError(f"{len(sampled)} sampled tokens but {len(logprobs)} logprobs")
        try:
            values = array("d", logprobs)
        except TypeError:
            raise TokenRecordError("a logprob is no number") from None
        if not all(map(math.isfinite, values)):
            raise TokenRecordError("a logprob is not finite")
        single = array("f", values)
        exact = single.tolist() == values.tolist()
        if versions and versions[-1].end != len(sampled):
            raise TokenRecordError(f"version spans cover {versions[-1].end} of {len(sampled)} sampled tokens")
        return cls(prompt.tobytes(), sampled.tobytes(), single if exact else values, versions)

    @property
    def prompt_count(self) -> int:
        return len(self.prompt) // ID_BYTES

    @property
    def sampled_count(self) -> int:
        return len(self.sampled) // ID_BYTES

    def unpacked(self) -> TokenRecord:
        """The record as the rest of agentenv knows it."""
        return TokenRecord(unpack_ids(self.prompt), unpack_ids(self.sampled), tuple(self.logprobs), self.versions)


def _ids(name: str, values: Sequence[int]) -> array[int]:
    try:
        return array("I", values)
    except (TypeError, OverflowError) as error:
        raise TokenRecordError(f"{name} are no list of token ids: {error}") from None


def unpack_ids(packed: bytes) -> tuple[int, ...]:
    """The ids of a packed run."""
    ids: array[int] = array("I")
    ids.frombytes(packed)
    return tuple(ids)


def shared_ids(left: bytes, right: bytes) -> int:
    """How many ids two packed runs have in common from the start. Compares blocks, so it costs no Python loop."""
    low, high = 0, min(len(left), len(right)) // ID_BYTES
    if left[: high * ID_BYTES] == right[: high * ID_BYTES]:
        return high
    while low + 1 < high:  # the first `low` ids agree, the first `high` do not
        middle = (low + high) // 2
        if left[low * ID_BYTES : middle * ID_BYTES] == right[low * ID_BYTES : middle * ID_BYTES]:
            low = middle
        else:
            high = middle
    return low


class SharedBytes:
    """Keeps one copy of what many sessions hold alike: tools, system prompts, the tasks of siblings."""

    def __init__(self, capacity: int = 4096) -> None:
        self._known: dict[bytes, bytes] = {}
        self._capacity = capacity

    def keep(self, data: bytes) -> bytes:
        """An equal value, the same object for every caller while it is remembered."""
        known = self._known.get(data)
        if known is None:
            if len(self._known) >= self._capacity:
                self._known.clear()
            known = _compact(data)
            self._known[known] = known
        return known


class MessageTree:
    """Every message of a session once, as JSON, linked to the one before it.

    A conversation is the number of its last message; `ROOT` is the empty one. Two messages are the same where role,
    text, tool calls and the call they answer are: what client libraries leave out or add when they send an answer
    back does not count, nor how they write the JSON of its arguments.
    """

    ROOT = -1

    __slots__ = ("_bodies", "_found", "_parents", "_shared")

    def __init__(self, shared: SharedBytes) -> None:
        self._found: dict[bytes, int] = {}
        """By a digest of the number before it and its meaning."""
        self._bodies: list[bytes] = []
        self._parents: array[int] = array("i")
        self._shared = shared

    def add(self, parent: int, message: Wire) -> int:
        """The conversation `parent` with one message more."""
        key = blake2b(b"%d " % parent + dumps(_meaning(message)), digest_size=16).digest()
        node = self._found.get(key)
        if node is None:
            node = self._found[key] = len(self._bodies)
            body = dumps(message)
            self._bodies.append(self._shared.keep(body) if node < _OPENING else _compact(body))
            self._parents.append(parent)
        return node

    def add_all(self, messages: Sequence[Wire]) -> int:
        """The conversation of these messages."""
        node = self.ROOT
        for message in messages:
            node = self.add(node, message)
        return node

    def size(self) -> int:
        """About how many bytes the messages take."""
        return sum(map(len, self._bodies)) + 200 * len(self._bodies)

    def parent(self, node: int) -> int:
        return self._parents[node]

    def message(self, node: int) -> Wire:
        """The last message of a conversation."""
        found: Wire = loads(self._bodies[node])
        return found

    def messages(self, node: int, since: int = ROOT) -> list[Wire]:
        """The messages of a conversation that come after `since`, an earlier state of it."""
        found = []
        while node not in (since, self.ROOT):
            found.append(self.message(node))
            node = self._parents[node]
        return found[::-1]


def _compact(data: bytes) -> bytes:
    """A copy without the room to grow that orjson leaves behind what it has written."""
    return bytes(memoryview(data))


def _meaning(message: Wire) -> Wire:
    """What makes two messages the same, in an order of its own."""
    get = message.get
    meaning: Wire = {"role": get("role"), "content": _text(get("content"))}
    calls: Any = get("tool_calls")
    if calls:
        meaning["tool_calls"] = [_call(call) for call in calls] if isinstance(calls, list) else calls
    for name in ("tool_call_id", "name"):
        value = get(name)
        if value is not None:
            meaning[name] = value
    return meaning


def _text(content: Any) -> Any:
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content or None


def _call(call: Any) -> Any:
    try:
        function = call["function"]
        return [call["id"], function["name"], spelling(function["arguments"])]
    except (KeyError, TypeError):
        return call
