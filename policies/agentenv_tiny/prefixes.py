"""Cached keys and values of finished answers, so that the next turn of a conversation runs only its new tokens.

One turn of a tool-using episode adds some twenty tokens to a prompt of up to a hundred. Running the whole prompt again
at each turn would be most of the work; copying the cache of the last turn costs a hundredth of it.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class PrefixCache:
    """Least-recently-used store from an exact token prefix to its cached keys and values.

    An answer that ends with the end-of-turn token is stored up to that token, so the only places of a prompt at which a
    stored prefix can end are its end-of-turn tokens. `capacity` is the number of cached tokens held in all.
    """

    def __init__(self, end_id: int, capacity: int) -> None:
        self._end_id = end_id
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def store(self, token_ids: Sequence[int], cached: torch.Tensor) -> None:
        """Keep `cached`, whose length is that of `token_ids`; drop the longest unused ones above the capacity."""
        key = array("i", token_ids).tobytes()
        replaced = self._entries.pop(key, None)
        if replaced is None:
            self._held += len(token_ids)
        self._entries[key] = cached
        while self._held > self._capacity:
            oldest, _ = self._entries.popitem(last=False)
            self._held -= len(oldest) // array("i").itemsize

    def find(self, prompt_ids: Sequence[int]) -> torch.Tensor | None:
        """The longest stored prefix of `prompt_ids` that ends before one of its end-of-turn tokens."""
        if not self._entries:
            return None
        packed = array("i", prompt_ids)
        data, size = packed.tobytes(), packed.itemsize
        for position in range(len(prompt_ids) - 1, 0, -1):
            if prompt_ids[position] == self._end_id:
                key = data[: position * size]
                cached = self._entries.get(key)
                if cached is not None:
                    self._entries.move_to_end(key)
                    return cached
        return None

    def clear(self) -> None:
        """Forget everything: new weights make other keys and values."""
        self._entries.clear()
        self._held = 0
