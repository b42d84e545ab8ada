"""Groups: the siblings of one task, which begin together, are judged against each other and are trained on together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentenv.episode import Episode
from agentenv.learn.admission import Admission
from agentenv.learn.config import TrainConfig
from agentenv.learn.sources import TaskStream
from agentenv.policy.contract import Sampling
from agentenv.registry import EnvSpec
from agentenv.rollout import EpisodeRequest, group_requests
from agentenv.tasks import Task


@dataclass(frozen=True, slots=True)
class Group:
    """A complete group: its number in the run, and its episodes, one per sibling in their order, failed ones too."""

    number: int
    episodes: tuple[Episode, ...]

    @property
    def scored(self) -> bool:
        """Whether any of its episodes has a reward."""
        return any(episode.reward is not None for episode in self.episodes)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one update learns from, oldest group first, and the groups that were dropped on the way to it."""

    groups: tuple[Group, ...]
    dropped: tuple[Group, ...] = ()

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Those to learn from, in an order that does not depend on who finished first."""
        return tuple(episode for group in self.groups for episode in group.episodes)

    @property
    def drawn(self) -> tuple[Group, ...]:
        return self.groups + self.dropped


class GroupRequests:
    """The episodes that each group consists of: a function of the configuration and the group's number alone."""

    def __init__(self, config: TrainConfig, spec: EnvSpec, tasks: TaskStream) -> None:
        self._config = config
        self._spec = spec
        self._tasks = tasks
        self._admission = Admission.of(config)
        self._drawn: tuple[int, Sequence[Task]] = (0, ())
        self._sampling = Sampling(
            temperature=config.temperature, max_tokens=config.max_tokens, seed=config.seed, tokens=True
        )

    def of(self, number: int) -> list[EpisodeRequest]:
        """The requests of a group, one per sibling.

        Raises:
            ConfigError: the source has too few different tasks.
        """
        iteration = self._admission.iteration_of(number)
        if self._drawn[0] != iteration:
            self._drawn = (iteration, self._tasks.of_iteration(iteration))
        task = self._drawn[1][number % self._admission.size]
        return list(
            group_requests(
                self._spec,
                [task],
                siblings=self._config.siblings,
                seed=self._config.seed,
                iteration=iteration,
                sampling=self._sampling,
            )
        )
