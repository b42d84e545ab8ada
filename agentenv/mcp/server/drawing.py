"""Which task an episode is about: one that is named, or one that a seed draws."""

from __future__ import annotations

import asyncio
import itertools

from agentenv.clock import deadline
from agentenv.env import Env
from agentenv.errors import nearest
from agentenv.outcome import Boundary, boundary
from agentenv.tasks import Task, TaskSet
from agentenv.threads import THREADS
from agentenv.tools import ToolError

_DRAWN_FROM = 1024
"""Tasks of an endless source: `TaskSet.shuffle` draws its first from as many."""
_LOOKED_AT = 1_000_000
"""Tasks of any other source among which one is looked for."""


class Tasks:
    """The tasks of one environment. They are read in threads, for a source may load a file first.

    Args:
        env: an instance of its own, never played. seconds: that reading them may take.
    """

    def __init__(self, name: str, env: Env, seconds: float) -> None:
        self._name, self._env, self._seconds = name, env, seconds
        self._lock = asyncio.Lock()
        self._sets: dict[str, TaskSet] = {}
        self._positions: dict[str, dict[str, int]] = {}

    async def choose(self, id: str | None, split: str, seed: int) -> Task:
        """The task of an id, or without one what the seed draws from the split.

        Raises:
            ToolError: there is no such task. BoundaryError: the environment fails.
        """
        async with self._lock:  # sources need not expect two threads
            with boundary(Boundary.ENVIRONMENT, f"{self._name}.tasks"):
                async with deadline(self._seconds):
                    found: Task | None = await THREADS.run(lambda: self._find(id, split, seed))
            if found is not None:
                return found
        if id is None:
            raise ToolError(f"Error: the split {split!r} has no tasks.")
        known = list(itertools.islice(self._positions[split], 1000))
        hint = nearest(id, known) or f" It begins with {', '.join(known[:3])}."
        raise ToolError(f"Error: the split {split!r} has no task {id!r}.{hint}")

    def _find(self, id: str | None, split: str, seed: int) -> Task | None:
        if split not in self._sets:
            self._sets[split] = self._env.tasks(split)
        tasks = self._sets[split]
        if id is None:
            return None if tasks.size == 0 else tasks.shuffle(seed).task(0)
        if split not in self._positions:
            first = itertools.islice(tasks, _DRAWN_FROM if tasks.size is None else _LOOKED_AT)
            self._positions[split] = {task.id: index for index, task in enumerate(first)}
        position = self._positions[split].get(id)
        return None if position is None else tasks.task(position)
