"""`WorldTasks`: an endless source of tasks of which no question is in two splits."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from agentenv.errors import ConfigError
from agentenv.tasks import Task, TaskSet, content_hash

_PERCENTILES = {"train": range(80), "dev": range(80, 90), "test": range(90, 100)}
_DRAWS = 10_000


class WorldTasks(TaskSet):
    """Like `agentenv.tasks.ProceduralTasks`, but a task belongs to the split its *question* hashes to.

    One question can be asked in many worlds, with another way to go in each; a split that went by the whole row would
    hold out the world and not the question.

    Args:
        make: builds a row from a generator; its `id` and `split` are filled in here.
        split: `"train"` (80 %), `"dev"` or `"test"` (10 % each).
        seed: another seed is another stream of tasks over the same split.

    Raises:
        ConfigError: there is no such split.
    """

    size = None

    def __init__(self, make: Callable[[random.Random], Task], *, split: str, seed: int) -> None:
        if split not in _PERCENTILES:
            raise ConfigError(f"there are the splits train, dev and test, not {split!r}")
        self._make = make
        self._split = split
        self._seed = seed

    def task(self, index: int) -> Task:
        rng = random.Random(f"{self._seed}/{self._split}/{index}")
        for _ in range(_DRAWS):
            candidate = self._make(rng)
            if split_of(candidate.question) == self._split:
                return Task(content_hash(candidate), candidate.prompt, candidate.answer, candidate.data, self._split)
        raise ConfigError(
            f"no task of split {self._split!r} in {_DRAWS:,} draws: there are too few different questions"
        )


def split_of(question: str) -> str:
    """The split a question belongs to."""
    percentile = int(hashlib.sha256(question.encode()).hexdigest()[:12], 16) % 100
    return next(split for split, percentiles in _PERCENTILES.items() if percentile in percentiles)
