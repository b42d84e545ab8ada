"""Which group of episodes may start, and when an update has enough of them: arithmetic on counts, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agentenv.learn.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the groups of a run are.

    Attributes:
        version: updates published. taken: updates that have taken their groups: one more while one is being made.
        running: groups that have begun and are not complete. waiting: complete ones that no update has taken yet.
        dropped: groups that dynamic sampling has refused since an update last took some.
    """

    version: int = 0
    taken: int = 0
    running: int = 0
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """Staleness is bounded by who may start, never by throwing away what has started.

    A slow group would be the one to be thrown away, and the data would lean towards quick, easy tasks. So capacity is
    AReaL's (https://arxiv.org/abs/2505.24298, section 5.1), counted in groups:

        min(places − running, (η + version + 1) · B − (accepted + running))

    The first part is the rollout engine's: it draws a request when it has a place for it. `accepted` counts B groups
    for each update that has taken its groups, and those that wait; so it needs no memory of its own after a resume.
    With η = 0 the next B groups begin when the update before them is published, and not earlier: the synchronous loop.

    Groups have numbers 0, 1, 2, … in the order in which they begin, B of them for each iteration.

    Attributes:
        size: B, groups an update. staleness: η.
        updates: of the whole run. No group begins that none of them would need, so none is cut off at the end.
        most_drawn: groups that may be drawn for one update, refused ones included.
    """

    size: int
    staleness: int
    updates: int
    most_drawn: int

    @classmethod
    def of(cls, config: TrainConfig) -> Admission:
        """The admission a configuration asks for."""
        size, groups = config.tasks_per_iteration, config.groups
        most_drawn = math.floor(groups.most_draws * size) if groups.dynamic_sampling else size
        return cls(size, config.staleness, config.iterations, most_drawn)

    def capacity(self, standing: Standing) -> int:
        """How many groups may begin now; 0 or less for none."""
        accepted = standing.taken * self.size + standing.waiting
        ahead = min(self.staleness + standing.version + 1, self.updates) * self.size
        drawn = standing.waiting + standing.dropped + standing.running
        return min(ahead - accepted - standing.running, self.most_drawn + self.staleness * self.size - drawn)

    def enough(self, standing: Standing) -> bool:
        """Whether the next update takes what waits: it has its B groups, or has drawn so many that it must make do."""
        return standing.waiting >= self.size or standing.waiting + standing.dropped >= self.most_drawn

    def iteration_of(self, number: int) -> int:
        """The iteration whose tasks and seeds a group has, from 1; it may well be trained on in another."""
        return number // self.size + 1
