"""Tasks: frozen rows that say what an episode is about, and lazy sources of them.

A worker, a resumed run and a re-scoring need nothing but the row; user code is never pickled.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from agentenv.errors import ConfigError
from agentenv.messages import Message, user

Json = Any
"""A value that survives a round trip through JSON: null, bool, number, string, list or object of such."""


@dataclass(frozen=True, slots=True)
class Task:
    """One problem: an immutable, JSON-serialisable row.

    Attributes:
        id: unique within its source; siblings of a group share it.
        prompt: the messages the episode opens with (without the environment's own system message).
        answer: what the verifier compares with; never shown to the policy.
        data: anything else the environment needs (difficulty, database, hidden tests).
        split: `"train"`, `"dev"`, `"test"` or a source's own name.

    >>> task = Task.ask("t1", "2 + 2?", answer=4)
    >>> Task.from_json(task.to_json()) == task
    True
    """

    id: str
    prompt: tuple[Message, ...] = ()
    answer: Json = None
    data: Mapping[str, Json] = field(default_factory=dict)
    split: str = "train"

    @classmethod
    def ask(cls, id: str, question: str, *, answer: Json = None, split: str = "train", **data: Json) -> Self:
        """The common case: one user message."""
        return cls(id, (user(question),), answer, data, split)

    @property
    def question(self) -> str:
        """The text of the prompt's user messages."""
        return "\n".join(message.text for message in self.prompt if message.role == "user")

    def to_json(self) -> str:
        prompt = [message.to_wire() for message in self.prompt]
        row = {"id": self.id, "prompt": prompt, "answer": self.answer, "data": dict(self.data), "split": self.split}
        return json.dumps(row, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        row = json.loads(text)
        prompt = tuple(Message.from_wire(message) for message in row["prompt"])
        return cls(row["id"], prompt, row["answer"], row["data"], row["split"])


class TaskSet(ABC):
    """A lazy, indexable source of tasks; possibly endless.

    The primitive is `task(index)`, which must be pure: the same index always gives the same row. That is what makes
    an endless source resumable and lets a thousand workers share it without talking to each other.
    """

    size: int | None
    """How many tasks there are, or `None` for an endless source."""

    @abstractmethod
    def task(self, index: int) -> Task:
        """The row at `index`, 0 ≤ index < size."""

    def __iter__(self) -> Iterator[Task]:
        index = 0
        while self.size is None or index < self.size:
            yield self.task(index)
            index += 1

    def head(self, count: int) -> TaskSet:
        """The first `count` tasks (fewer when there are fewer)."""
        size = count if self.size is None else min(count, self.size)
        return _View(self, size, lambda index: index)

    def skip(self, count: int) -> TaskSet:
        """All but the first `count` tasks."""
        size = None if self.size is None else max(self.size - count, 0)
        return _View(self, size, lambda index: index + count)

    def shuffle(self, seed: int) -> TaskSet:
        """The same tasks in an order drawn from `seed`: whole when finite, within blocks of 1,024 when endless."""
        return _View(self, self.size, _Permutation(self.size, seed))


class ListTasks(TaskSet):
    """Tasks held in memory."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self.size = len(tasks)

    def task(self, index: int) -> Task:
        return self._tasks[index]


_PERCENTILES = {"train": range(80), "dev": range(80, 90), "test": range(90, 100)}


class ProceduralTasks(TaskSet):
    """An endless source: `make(rng, index)` invents the task at an index from a generator of its own.

    Splits never overlap: a candidate belongs to the split its *content* hashes to (80 % train, 10 % dev, 10 % test),
    and an index draws candidates until one falls into the split asked for.

    Args:
        make: builds a row from a `random.Random`; its `id` (a hash of its content, so a source that repeats
            itself repeats ids) and `split` are filled in here.
        split: `"train"`, `"dev"` or `"test"`.
        seed: another seed is another stream of tasks over the same split.
    """

    size = None

    def __init__(self, make: Callable[[random.Random], Task], *, split: str = "train", seed: int = 0) -> None:
        if split not in _PERCENTILES:
            raise ConfigError(f"a procedural source has the splits train, dev and test, not {split!r}")
        self._make = make
        self._split = split
        self._seed = seed

    def task(self, index: int) -> Task:
        rng = random.Random(f"{self._seed}/{self._split}/{index}")
        for _ in range(10_000):
            candidate = self._make(rng)
            digest = content_hash(candidate)
            if int(digest, 16) % 100 in _PERCENTILES[self._split]:
                return Task(digest, candidate.prompt, candidate.answer, candidate.data, self._split)
        raise ConfigError(f"no task of split {self._split!r} in 10,000 draws: the source has too few distinct tasks")


def content_hash(task: Task) -> str:
    """12 hexadecimal digits that depend on the prompt and the answer alone."""
    content = json.dumps([[message.to_wire() for message in task.prompt], task.answer], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


class _View(TaskSet):
    def __init__(self, source: TaskSet, size: int | None, position: Callable[[int], int]) -> None:
        self._source = source
        self._position = position
        self.size = size

    def task(self, index: int) -> Task:
        if index < 0 or (self.size is not None and index >= self.size):
            raise IndexError(f"task {index} of {self.size}")
        return self._source.task(self._position(index))


class _Permutation:
    """index → index, a bijection on each block; the block is the whole source when it is finite."""

    def __init__(self, size: int | None, seed: int) -> None:
        self._block_size = 1024 if size is None else max(size, 1)
        self._seed = seed
        self._blocks: dict[int, list[int]] = {}

    def __call__(self, index: int) -> int:
        block, offset = divmod(index, self._block_size)
        if block not in self._blocks:
            order = list(range(self._block_size))
            random.Random(f"{self._seed}/{block}").shuffle(order)
            self._blocks[block] = order
        return block * self._block_size + self._blocks[block][offset]
