"""Where groups wait for their update, and which ones have had theirs."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

from agentenv.learn.groups import Group


class Buffer:
    """Complete groups that no update has taken yet, in the order of their numbers."""

    def __init__(self) -> None:
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups)

    def add(self, group: Group) -> None:
        bisect.insort(self._groups, group, key=lambda group: group.number)

    def take(self, count: int) -> tuple[Group, ...]:
        """Removes the oldest groups, at most `count`."""
        taken, self._groups = self._groups[:count], self._groups[count:]
        return tuple(taken)


class Settled:
    """Numbers of the groups that are done with: all those below `below`, and those `beyond`.

    >>> settled = Settled()
    >>> settled.add([0, 3, 1])
    >>> settled.below, sorted(settled.beyond), 3 in settled, 2 in settled
    (2, [3], True, False)
    """

    def __init__(self, below: int = 0, beyond: Iterable[int] = ()) -> None:
        self.below = below
        self.beyond = set(beyond)

    def __contains__(self, number: int) -> bool:
        return number < self.below or number in self.beyond

    def __iter__(self) -> Iterator[int]:
        yield from range(self.below)
        yield from sorted(self.beyond)

    def add(self, numbers: Iterable[int]) -> None:
        """Settles groups.

        Raises:
            ValueError: one of them had been settled before.
        """
        for number in numbers:
            if number in self:
                raise ValueError(f"group {number} was in an update before")
            self.beyond.add(number)
        while self.below in self.beyond:
            self.beyond.remove(self.below)
            self.below += 1
