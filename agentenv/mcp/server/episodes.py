"""Episodes that clients play through tools: each with a handle nobody can guess, closed when nobody plays on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Self, TypeVar

import pydantic

from agentenv.clock import deadline
from agentenv.env import Action, Env, Observation, StepResult
from agentenv.errors import AgentenvError, EpisodeTimeout, nearest
from agentenv.messages import Message
from agentenv.outcome import Boundary, boundary
from agentenv.registry import EnvSpec
from agentenv.resources import Resources
from agentenv.rewards import Reward, as_reward
from agentenv.tasks import Task
from agentenv.threads import THREADS
from agentenv.tools import ToolError

T = TypeVar("T")


class EpisodesConfig(pydantic.BaseModel):
    """How many episodes may be played, and how long.

    Attributes:
        most: open at a time; one more is refused. lease: seconds after which one that nobody plays is closed.
        call_seconds: of one reset or step.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    most: int = pydantic.Field(default=256, ge=1)
    lease: float = pydantic.Field(default=600.0, gt=0.0)
    call_seconds: float = pydantic.Field(default=120.0, gt=0.0)


@dataclass(eq=False)
class Played:
    """One episode, and what it has earned so far. `earned` is `None` once a part of it was not scored."""

    handle: str
    env: Env
    task: Task
    opening: Observation
    used_at: float
    earned: Reward | None = field(default_factory=Reward.of)
    turns: int = 0
    terminated: bool = False
    truncated: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated


class Episodes:
    """The episodes of one environment. An asynchronous context manager that closes them.

    Args:
        spec: the environment; every episode has an instance of its own.
    """

    def __init__(self, spec: EnvSpec, config: EpisodesConfig | None = None) -> None:
        self.spec, self.config = spec, config or EpisodesConfig()
        self._open: dict[str, Played] = {}
        self._opening = 0
        self._resources = Resources()
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self._resources.__aenter__()
        self._sweeping = asyncio.create_task(self._sweep(), name="agentenv-mcp-leases")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        for handle in list(self._open):
            await self.close(handle)
        await self._resources.__aexit__(*error)

    async def begin(self, *, task: str | None = None, split: str = "train", seed: int | None = None) -> Played:
        """A new episode.

        Args:
            task: the id of one; drawn by the seed unless given. split: where it is looked for, or drawn from.

        Raises:
            ToolError: there is no such task, or no room. BoundaryError: the environment fails.
        """
        if len(self._open) + self._opening >= self.config.most:
            raise ToolError(f"Error: {self.config.most} episodes are open, which is all there is room for. Try later.")
        self._opening += 1
        try:
            return await self._begin(task, split, secrets.randbits(31) if seed is None else seed)
        finally:
            self._opening -= 1

    async def _begin(self, task: str | None, split: str, seed: int) -> Played:
        where = f"{self.spec.id}.reset"
        with self._resources.active(), boundary(Boundary.ENVIRONMENT, where):
            env = self.spec.make()
            try:
                found = await THREADS.run(lambda: _task(env, task, split, seed))
                opening, _ = await self._in_time(env.reset(task=found, seed=seed), where)
            except BaseException:
                await env.close()
                raise
        played = Played(secrets.token_urlsafe(16), env, found, opening, time.monotonic())
        self._open[played.handle] = played
        return played

    def find(self, handle: str) -> Played:
        """The open episode of a handle. Raises `ToolError` where there is none."""
        played = self._open.get(handle)
        if played is None:
            raise ToolError("Error: there is no such episode, or no longer; start_episode begins one.")
        played.used_at = time.monotonic()
        return played

    async def step(self, played: Played, message: Message) -> StepResult:
        """One turn. Turns of one episode are taken one after the other.

        Raises:
            ToolError: the episode is over. BoundaryError: it fails, and is closed.
        """
        async with played.lock:
            if played.over:
                raise ToolError("Error: this episode is over; start_episode begins another.")
            where = f"{self.spec.id}.step"
            try:
                with self._resources.active(), boundary(Boundary.ENVIRONMENT, where):
                    result = await self._in_time(played.env.step(Action(message)), where)
                    earned = as_reward(result.reward, self.spec.id)
            except AgentenvError:
                await self.close(played.handle)
                raise
            played.turns += 1
            played.used_at = time.monotonic()
            played.terminated, played.truncated = result.terminated, result.truncated
            if earned is None or played.earned is None:
                played.earned = None
            else:
                played.earned = Reward.of(*played.earned.components, *earned.components)
            return result

    async def close(self, handle: str) -> None:
        """Ends an episode, if it is open."""
        played = self._open.pop(handle, None)
        if played is not None:
            with self._resources.active(), contextlib.suppress(Exception):  # nobody is left to be told
                await played.env.close()

    async def _in_time(self, call: Awaitable[T], where: str) -> T:
        try:
            async with deadline(self.config.call_seconds):
                return await call
        except TimeoutError:
            raise EpisodeTimeout(f"{where} took more than {self.config.call_seconds:g} s") from None

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(self.config.lease / 4, 5.0))
            oldest = time.monotonic() - self.config.lease
            for played in [one for one in self._open.values() if one.used_at < oldest and not one.lock.locked()]:
                await self.close(played.handle)


_LOOKED_AT = 2048
"""Tasks of an endless source among which one is looked for by its id: twice as many as seeds draw from."""


def _task(env: Env, id: str | None, split: str, seed: int) -> Task:
    tasks = env.tasks(split)
    if id is None:
        return next(iter(tasks.shuffle(seed)))
    known: list[str] = []
    for task in itertools.islice(tasks, _LOOKED_AT if tasks.size is None else None):
        if task.id == id:
            return task
        known.append(task.id)
    hint = nearest(id, known[:1000]) or f" It begins with {', '.join(known[:3])}."
    raise ToolError(f"Error: the split {split!r} has no task {id!r}.{hint}")
