"""Many episodes in one process, turn by turn side by side: a trial of whether their worlds are apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentenv.env import Action
from agentenv.errors import ConfigError
from agentenv.resources import Resources
from agentenv.tasks import Task
from agentenv_tools.env import WorldEnv
from agentenv_tools.world import digest

MOST_TURNS = 50
"""Of an oracle, which needs far fewer."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one episode of many ended.

    Attributes:
        task_id: of its task. reward: of the whole episode.
        before, after: digests of the state its worlds were in at first and at last.
    """

    task_id: str
    reward: float
    before: str
    after: str


async def play_side_by_side(env_type: type[WorldEnv], episodes: int, *, split: str = "train") -> tuple[Ending, ...]:
    """Plays the first tasks of a split with the oracle, all at once.

    None makes its second turn before all have made their first.

    Args:
        env_type: whose environments are played, one an episode.

    Raises:
        ConfigError: fewer than one episode.
    """
    if episodes < 1:
        raise ConfigError(f"there must be at least one episode, got {episodes}")
    tasks = list(env_type().tasks(split).head(episodes))
    async with Resources() as resources:
        with resources.active():
            players = [_Player(env_type(), task) for task in tasks]
            try:
                await asyncio.gather(*(player.begin() for player in players))
                for _ in range(MOST_TURNS):
                    await asyncio.gather(*(player.turn() for player in players))
                return tuple(player.ending() for player in players)
            finally:
                await asyncio.gather(*(player.env.close() for player in players))


class _Player:
    """One of the episodes."""

    def __init__(self, env: WorldEnv, task: Task) -> None:
        self.env = env
        self._task = task
        self._over = False
        self._reward = 0.0
        self._before = ""

    async def begin(self) -> None:
        await self.env.reset(task=self._task, seed=0)
        self._before = digest(self.env.here.facts())

    async def turn(self) -> None:
        if self._over:
            return
        result = await self.env.step(Action(self.env.oracle()))
        self._over = result.terminated or result.truncated
        self._reward += result.reward or 0.0

    def ending(self) -> Ending:
        return Ending(self._task.id, self._reward, self._before, digest(self.env.here.facts()))


async def goal_of(env_type: type[WorldEnv], task: Task) -> str:
    """The digest of the state a task asks for, found with nobody beside it."""
    env = env_type()
    try:
        await env.reset(task=task, seed=0)
        _, wanted = await env.goal_facts()
        return digest(wanted)
    finally:
        await env.close()
