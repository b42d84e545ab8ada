"""The task every library is given: add two numbers; the mock model is right on every second task.

Standard library only: the runners of the peers import this inside their own virtual environments.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

EXPECTED_REWARD = 0.5
"""Mean reward of an even number of tasks, if a library has really graded the answers."""

_SUM = re.compile(r"(\d+) \+ (\d+)")


@dataclass(frozen=True, slots=True)
class Sum:
    """One task. Operands and sums have four or five digits, so no answer occurs in a reply by chance."""

    index: int

    @property
    def question(self) -> str:
        return f"What is {1000 + self.index % 9000} + {20000 + self.index}? Reply in one sentence."

    @property
    def answer(self) -> str:
        return str(1000 + self.index % 9000 + 20000 + self.index)


def sums(count: int) -> list[Sum]:
    """The first ``count`` tasks."""
    return [Sum(index) for index in range(count)]


class _Request(Protocol):
    @property
    def last_text(self) -> str: ...

    @property
    def body(self) -> Mapping[str, Any]: ...


def answer(request: _Request) -> str:
    """The mock model: the sum for even left operands, the sum plus one for odd ones."""
    found = _SUM.search(request.last_text)
    if found is None:
        return "I see no sum here."
    left, right = int(found[1]), int(found[2])
    return f"Adding {left} and {right} gives {left + right + left % 2}."


@dataclass(slots=True)
class _Wave:
    arrived: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)


_waves: dict[int, _Wave] = defaultdict(_Wave)


async def answer_together(request: _Request) -> str:
    """As ``answer``, but the model named ``together-N`` answers nobody before N requests have come, then all N at once.

    So N episodes are known to be waiting at the same time, whatever the machine's speed.
    """
    size = int(request.body["model"].removeprefix("together-"))
    wave = _waves[size]
    wave.arrived += 1
    if wave.arrived == size:
        del _waves[size]
        wave.complete.set()
    await wave.complete.wait()
    return answer(request)
