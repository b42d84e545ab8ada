"""What is to be played: one request per episode, and groups of siblings that share a task and its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agentenv.episode import EpisodeKey
from agentenv.errors import ConfigError
from agentenv.policy.contract import Sampling
from agentenv.registry import EnvSpec
from agentenv.tasks import Task


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to play.

    Attributes:
        seed: the environment's; the policy gets `session_seed`.
        journaled: whether the engine's journal is asked for the episode and told of it. An evaluation between two
            updates plays the same episodes each time, on its way through the engine of a run that keeps others.
    """

    spec: EnvSpec
    task: Task
    seed: int
    key: EpisodeKey
    sampling: Sampling
    journaled: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"a seed must lie in 0 … 2^63 - 1, got {self.seed}")

    @property
    def session_seed(self) -> int:
        """The seed a policy draws from: another one for each sibling and iteration, the same for each attempt."""
        return derive_seed(self.seed, self.key.iteration, self.key.sibling)


def derive_seed(*parts: int | str) -> int:
    """A seed of 31 bits that depends on the parts alone: the same in every process and on every machine.

    >>> derive_seed(0, "task-1") == derive_seed(0, "task-1") != derive_seed(0, "task-2")
    True
    """
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 33


def group_requests(
    spec: EnvSpec,
    tasks: Iterable[Task],
    *,
    siblings: int = 1,
    seed: int = 0,
    iteration: int = 0,
    sampling: Sampling = Sampling(),  # noqa: B008 - immutable
) -> Iterator[EpisodeRequest]:
    """`siblings` requests per task, side by side, lazily.

    Siblings start from the same state: their environment seed depends on `seed` and the task's id alone. What the
    policy draws differs from sibling to sibling and from iteration to iteration.
    """
    if siblings < 1:
        raise ConfigError(f"siblings must be at least 1, got {siblings}")
    for task in tasks:
        environment_seed = derive_seed(seed, task.id)
        for sibling in range(siblings):
            key = EpisodeKey(spec.id, task.id, task.id, sibling, iteration)
            yield EpisodeRequest(spec, task, environment_seed, key, sampling)
