"""What is to be done: a task of MiniWoB++ and the seed that its page draws everything from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.errors import ConfigError
from agentenv.tasks import Task, TaskSet

SEEDS: Mapping[str, range] = {"test": range(1_000), "dev": range(1_000, 2_000), "train": range(2_000, 2**31)}
"""Splits have seeds of their own, so that no page of one is ever seen in another."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task's name and its seed."""

    name: str
    seed: int

    def task(self, split: str) -> Task:
        """As a row."""
        return Task(f"{self.name}/{self.seed}", data={"name": self.name, "seed": self.seed}, split=split)

    @classmethod
    def of(cls, task: Task) -> Assignment:
        """What a row asks for.

        Raises:
            ConfigError: it is no row of MiniWoB++.
        """
        data: Mapping[str, Any] = task.data
        name, seed = data.get("name"), data.get("seed")
        if not isinstance(name, str) or not isinstance(seed, int):
            raise ConfigError(f"the task {task.id!r} is none of MiniWoB++'s: it needs data with a name and a seed")
        return cls(name, seed)


class Assignments(TaskSet):
    """All seeds of a split for some tasks: each task once, then each with its next seed, and so on."""

    def __init__(self, names: Sequence[str], split: str) -> None:
        if split not in SEEDS:
            raise ConfigError(f"MiniWoB++ has the splits {', '.join(SEEDS)}, not {split!r}")
        self._names, self._split = names, split
        self.size = len(names) * len(SEEDS[split]) if split != "train" else None

    def task(self, index: int) -> Task:
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(f"task {index} of {self.size}")
        round, position = divmod(index, len(self._names))
        seeds = SEEDS[self._split]
        return Assignment(self._names[position], seeds[round % len(seeds)]).task(self._split)
