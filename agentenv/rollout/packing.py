"""Numbers as compact blobs that read back exactly."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

from agentenv.tokens import TokenRecord, VersionSpan

Packed = tuple[int, bytes, bytes, bytes, str]
"""(shared, prompt ids, sampled ids, logprobs, versions) of one turn; see `pack_tokens`."""


def pack_ints(values: Sequence[int]) -> bytes:
    """A letter for the width (2, 4 or 8 bytes, whichever is enough), then the values, little-endian."""
    top = max(values, default=0)
    if min(values, default=0) < 0 or top >= 2**32:
        return _bytes("q", values)
    return _bytes("H" if top < 2**16 else "I", values)


def pack_floats(values: Sequence[float]) -> bytes:
    """As `pack_ints`, in single precision where that loses nothing (what inference servers send usually fits)."""
    single = array("f", values)
    return _bytes("f" if single.tolist() == list(values) else "d", values)


def unpack(blob: bytes) -> Sequence[float]:
    """The values of `pack_ints` or `pack_floats`."""
    values: array[int] = array(chr(blob[0]))
    values.frombytes(blob[1:])
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def pack_tokens(tokens: TokenRecord, before: tuple[int, ...]) -> Packed:
    """A token record, given the ids the turn before it ended with.

    A conversation's next prompt usually repeats the last one; only the count of ids in common with `before` is kept,
    so that an episode of n turns takes room for its tokens and not for n²/2 of them.
    """
    shared = _common_prefix(tokens.prompt_ids, before)
    versions = ",".join(f"{span.version}:{span.start}:{span.end}" for span in tokens.versions)
    fresh = tokens.prompt_ids[shared:]
    return shared, pack_ints(fresh), pack_ints(tokens.sampled_ids), pack_floats(tokens.logprobs), versions


def unpack_tokens(packed: Packed, before: tuple[int, ...]) -> TokenRecord:
    """The token record, given the same `before` as when it was packed."""
    shared, fresh, sampled, logprobs, versions = packed
    spans = [tuple(map(int, span.split(":"))) for span in versions.split(",")] if versions else []
    return TokenRecord(
        before[:shared] + tuple(map(int, unpack(fresh))),
        tuple(map(int, unpack(sampled))),
        tuple(unpack(logprobs)),
        tuple(VersionSpan(version, start, end) for version, start, end in spans),
    )


def _common_prefix(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(index for index, (mine, theirs) in enumerate(zip(left, right, strict=False)) if mine != theirs)


def _bytes(code: str, values: Sequence[int] | Sequence[float]) -> bytes:
    packed: array[int] = array(code, values)  # type: ignore[arg-type]
    if sys.byteorder == "big":
        packed.byteswap()
    return code.encode() + packed.tobytes()
