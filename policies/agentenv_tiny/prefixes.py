"""Cached keys and values of finished answers, so that the next turn of a conversation runs only its new tokens.

One turn of a tool-using episode adds some twenty tokens to a prompt of up to a hundred. Running the whole prompt again
at each turn would be most of the work; copying the cache of the last turn costs a hundredth of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class PrefixCache(ABC):
    """Where the keys and values of answered requests are kept, and found again by the tokens they belong to."""

    @abstractmethod
    def keeps(self, last_id: int) -> bool:
        """Whether an answer that ended with the token `last_id` is worth storing."""

    @abstractmethod
    def store(self, token_ids: Sequence[int], cached: torch.Tensor, salt: str) -> None:
        """Keep `cached` [2, layers, heads, tokens, head size]; drop the longest unused above the capacity."""

    @abstractmethod
    def find(self, prompt_ids: Sequence[int], salt: str) -> torch.Tensor | None:
        """The keys and values of the longest known prefix of `prompt_ids`; at least one token is left to run."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything: new weights make other keys and values."""


class TurnCache(PrefixCache):
    """Least-recently-used store from an exact token prefix to its cached keys and values.

    An answer that ends with the end-of-turn token is stored up to that token, so the only places of a prompt at which a
    stored prefix can end are its end-of-turn tokens. `capacity` is the number of cached tokens held in all.
    """

    def __init__(self, end_id: int, capacity: int) -> None:
        self._end_id = end_id
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[tuple[str, bytes], torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def keeps(self, last_id: int) -> bool:
        return last_id == self._end_id

    def store(self, token_ids: Sequence[int], cached: torch.Tensor, salt: str = "") -> None:
        key = (salt, array("i", token_ids).tobytes())
        replaced = self._entries.pop(key, None)
        if replaced is None:
            self._held += len(token_ids)
        self._entries[key] = cached
        while self._held > self._capacity:
            (_, oldest), _ = self._entries.popitem(last=False)
            self._held -= len(oldest) // array("i").itemsize

    def find(self, prompt_ids: Sequence[int], salt: str = "") -> torch.Tensor | None:
        if not self._entries:
            return None
        packed = array("i", prompt_ids)
        data, size = packed.tobytes(), packed.itemsize
        for position in range(len(prompt_ids) - 1, 0, -1):
            if prompt_ids[position] == self._end_id:
                key = (salt, data[: position * size])
                cached = self._entries.get(key)
                if cached is not None:
                    self._entries.move_to_end(key)
                    return cached
        return None

    def clear(self) -> None:
        self._entries.clear()
        self._held = 0


class BlockCache(PrefixCache):
    """Keys and values in blocks of `size` tokens, each found by all the tokens up to its end, the way vLLM keeps them.

    Every answer is stored, however it ended; what does not fill a block is not. `capacity` counts tokens.
    """

    def __init__(self, size: int, capacity: int) -> None:
        self._size = size
        self._blocks = max(capacity // size, 1)
        self._entries: OrderedDict[tuple[str, bytes], torch.Tensor] = OrderedDict()

    def keeps(self, last_id: int) -> bool:
        return True

    def store(self, token_ids: Sequence[int], cached: torch.Tensor, salt: str = "") -> None:
        for start, end in pairwise(range(0, len(token_ids) + 1, self._size)):
            key = self._key(token_ids[:end], salt)
            # A block that is known stays: only clear() tells that its keys and values are out of date.
            if key not in self._entries:
                self._entries[key] = cached[:, :, :, start:end].clone()
            self._entries.move_to_end(key)
        while len(self._entries) > self._blocks:
            self._entries.popitem(last=False)

    def find(self, prompt_ids: Sequence[int], salt: str = "") -> torch.Tensor | None:
        found: list[torch.Tensor] = []
        for end in range(self._size, len(prompt_ids), self._size):
            key = self._key(prompt_ids[:end], salt)
            cached = self._entries.get(key)
            if cached is None:
                break
            self._entries.move_to_end(key)
            found.append(cached)
        if not found:
            return None
        import torch

        return torch.cat(found, dim=3)

    def clear(self) -> None:
        self._entries.clear()

    @staticmethod
    def _key(token_ids: Sequence[int], salt: str) -> tuple[str, bytes]:
        return salt, array("i", token_ids).tobytes()
