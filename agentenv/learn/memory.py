"""What happens when a batch does not fit into memory: once more in halves, then an error with a name and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from agentenv.learn.errors import OutOfMemoryError
from agentenv.learn.streams import TokenRow

Result = TypeVar("Result")


def in_halves(attempt: Callable[[int], Result], rows: Sequence[TokenRow], tokens: int, *, alone: bool) -> Result:
    """`attempt(tokens)`, and where memory runs out `attempt(tokens // 2)`.

    Args:
        attempt: runs the rows in micro-batches of so many tokens; a failed one must leave nothing behind.
        alone: false where other processes take part in every pass and would wait for this one's.

    Raises:
        OutOfMemoryError: it did not fit either time, or others take part.
    """
    try:
        return attempt(tokens)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        if not alone:
            raise _too_large(rows, tokens) from error
    try:
        return attempt(tokens // 2)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise _too_large(rows, tokens // 2) from error


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on a CPU torch has no type of its own for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _too_large(rows: Sequence[TokenRow], tokens: int) -> OutOfMemoryError:
    longest = max(rows, key=lambda row: len(row.ids))
    return OutOfMemoryError(
        f"a batch of {tokens} tokens does not fit into memory (the longest row, of {longest.name}, has "
        f"{len(longest.ids)}): lower learner.tokens_per_microbatch, or max_tokens and max_turns"
    )
