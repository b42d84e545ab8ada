"""Which tasks an iteration plays: a pure function of the configuration, so that a resumed run plays the same ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from agentenv.errors import ConfigError
from agentenv.tasks import Task, TaskSet

DRAWS_PER_TASK = 50
"""How many rows are looked at, per task wanted, before a source is taken to have no more different ones."""


class TaskStream:
    """Tasks for one iteration after another, epoch after epoch where the source is finite.

    Iteration i begins at position (i − 1) · count of the shuffled source and takes the next `count` tasks with ids of
    their own; an endless source may invent the same task twice. Each epoch has an order of its own.
    """

    def __init__(self, source: TaskSet, *, count: int, seed: int) -> None:
        if source.size is not None and source.size < count:
            raise ConfigError(f"an iteration needs {count} different tasks, but the split has only {source.size}")
        self._source = source
        self._count = count
        self._seed = seed
        self._epochs: dict[int, TaskSet] = {}

    def of_iteration(self, iteration: int) -> list[Task]:
        """The tasks of an iteration, counted from 1.

        Raises:
            ConfigError: the source does not have enough different tasks.
        """
        chosen: dict[str, Task] = {}
        for task in itertools.islice(self._from((iteration - 1) * self._count), self._count * DRAWS_PER_TASK):
            chosen.setdefault(task.id, task)
            if len(chosen) == self._count:
                return list(chosen.values())
        raise ConfigError(f"an iteration needs {self._count} different tasks, but the split gave only {len(chosen)}")

    def _from(self, position: int) -> Iterator[Task]:
        size = self._source.size
        for at in itertools.count(position):
            epoch, index = (0, at) if size is None else divmod(at, size)
            yield self._epoch(epoch).task(index)

    def _epoch(self, epoch: int) -> TaskSet:
        if epoch not in self._epochs:
            self._epochs = {epoch: self._source.shuffle(self._seed + epoch)}
        return self._epochs[epoch]
