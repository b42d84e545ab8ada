"""Episodes that clients play through tools: each with a handle nobody can guess, closed when nobody plays on."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Self, TypeVar

import pydantic

from agentenv.env import Env, Observation, StepResult
from agentenv.errors import BoundaryError
from agentenv.mcp.server.drawing import Tasks
from agentenv.mcp.server.played import Played
from agentenv.messages import Message
from agentenv.outcome import Boundary, Failure, boundary, classify
from agentenv.registry import EnvSpec
from agentenv.resources import Resources
from agentenv.rollout.answers import checked_reset, checked_step
from agentenv.rollout.budget import Budget
from agentenv.rollout.journal import DuplicateEpisodeError, Journal, JournalError
from agentenv.rollout.limits import Limits
from agentenv.rollout.loading import EnvironmentLoader
from agentenv.tasks import Task
from agentenv.tools import ToolError

T = TypeVar("T")

_LOG = logging.getLogger("agentenv.mcp")
_KEPT = 4096
"""Episodes that are over and whose score can still be asked for."""
_STALL_SECONDS, _GRACE_SECONDS = 0.25, 1.0
_GONE = "Error: there is no such episode, or no longer; start_episode begins one."


class EpisodesConfig(pydantic.BaseModel):
    """How many episodes may be played, and how long.

    Attributes:
        most: open at a time; one more is refused. Those that are over take no room.
        lease: seconds after which one that nobody plays is closed, and one that is over forgotten.
        call_seconds: of reading the tasks, of one reset or one step. close_seconds: of a close.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    most: int = pydantic.Field(default=256, ge=1)
    lease: float = pydantic.Field(default=600.0, gt=0.0)
    call_seconds: float = pydantic.Field(default=120.0, gt=0.0)
    close_seconds: float = pydantic.Field(default=30.0, gt=0.0)


class _Reset(NamedTuple):
    env: Env
    task: Task
    opening: Observation


class Episodes:
    """The episodes of one environment. An asynchronous context manager that closes them.

    What a client has begun is done to its end whether or not the client waits for it: an episode never stands in the
    middle of a step because somebody hung up.

    Args:
        spec: the environment; every episode has an instance of its own.
        journal: gets every episode that was begun, however it ended.
    """

    def __init__(self, spec: EnvSpec, config: EpisodesConfig | None = None, journal: Journal | None = None) -> None:
        self.spec, self.config = spec, config or EpisodesConfig()
        self._journal = journal
        self._open: dict[str, Played] = {}
        self._over: dict[str, Played] = {}
        self._openings: set[asyncio.Task[Played]] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._siblings: collections.Counter[str] = collections.Counter()
        self._resources = Resources()
        self._limits = Limits(_STALL_SECONDS, _GRACE_SECONDS)
        self._loader = EnvironmentLoader(journal)

    @property
    def count(self) -> int:
        """How many are open: begun, and neither over nor closed."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        """Imports the environment and begins to watch the leases.

        Raises:
            AgentenvError: there is no such environment, or it cannot be made.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._limits.clock)
            await stack.enter_async_context(self._resources)
            stack.push_async_callback(self._loader.close)
            await self._loader.load(self.spec)
            source = self.spec.make()  # never played: it says which tasks there are
            stack.push_async_callback(self._close_environment, source)
            self._tasks = Tasks(self.spec.id, source, self.config.call_seconds)
            self._sweeping = self._spawn(self._sweep(), "agentenv-mcp-leases")
            stack.push_async_callback(self._stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def look(self) -> Observation:
        """What an episode opens with, of one that nobody plays. Raises as `begin`."""
        with self._resources.active():
            reset = await self._reset(None, "train", secrets.randbits(31))
            await self._close_environment(reset.env)
        return reset.opening

    async def begin(self, *, task: str | None = None, split: str = "train", seed: int | None = None) -> Played:
        """A new episode. If the caller is cancelled meanwhile, so is the episode, for nobody would know its handle.

        Args:
            task: the id of one; drawn by the seed unless given. split: where it is looked for, or drawn from.

        Raises:
            ToolError: there is no such task, or no room. BoundaryError: the environment fails.
        """
        if len(self._open) + len(self._openings) >= self.config.most:
            raise ToolError(f"Error: {self.config.most} episodes are open, which is all there is room for. Try later.")
        drawn = secrets.randbits(31) if seed is None else seed
        opening = self._spawn(self._begin(task, split, drawn), f"{self.spec.id}.reset")
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._spawn(self._abandon(opening), f"{self.spec.id}.reset")
            raise

    def find(self, handle: str) -> Played:
        """The episode of a handle, open or over. Raises `ToolError` where there is none."""
        played = self._open.get(handle) or self._over.get(handle)
        if played is None:
            raise ToolError(_GONE)
        played.used_at = time.monotonic()
        return played

    async def step(self, played: Played, message: Message) -> StepResult:
        """One turn. Turns of one episode are taken one after the other.

        Raises:
            ToolError: the episode is over. BoundaryError: it fails, and is closed.
        """
        step = self._spawn(self._step(played, message), f"{self.spec.id}.step")
        played.steps.add(step)
        step.add_done_callback(played.steps.discard)
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if step.cancelled() and (caller is None or not caller.cancelling()):
                raise ToolError("Error: the episode was ended while it took this step.") from None
            raise

    async def close(self, handle: str) -> None:
        """Ends an episode, in the middle of a step if need be, and forgets it. Closing it again is harmless."""
        self._over.pop(handle, None)
        played = self._open.get(handle)
        if played is not None:
            await asyncio.shield(self._spawn(self._end(played), f"{self.spec.id}.close"))

    async def _begin(self, task: str | None, split: str, seed: int) -> Played:
        with self._resources.active():
            env, found, opening = await self._reset(task, split, seed)
        played = Played(secrets.token_urlsafe(16), env, found, seed, opening)
        self._open[played.handle] = played
        return played

    async def _reset(self, task: str | None, split: str, seed: int) -> _Reset:
        where = f"{self.spec.id}.reset"
        found = await self._tasks.choose(task, split, seed)
        with boundary(Boundary.ENVIRONMENT, where):
            env = self.spec.make()
            try:
                answer: object = await self._in_time(
                    lambda: env.reset(task=found, seed=seed), where, self.config.call_seconds
                )
                return _Reset(env, found, checked_reset(answer, where)[0])
            except BaseException:
                await self._close_environment(env)
                raise

    async def _abandon(self, opening: asyncio.Task[Played]) -> None:
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            await self._end(opening.result())

    async def _step(self, played: Played, message: Message) -> StepResult:
        async with played.lock:
            if played.over:
                raise ToolError("Error: this episode is over; start_episode begins another.")
            if played.closed:  # the step before this one has failed
                raise ToolError(_GONE)
            where, started = f"{self.spec.id}.step", time.perf_counter()
            action = played.begin_turn(message)
            try:
                with self._resources.active(), boundary(Boundary.ENVIRONMENT, where):
                    answer: object = await self._in_time(
                        lambda: played.env.step(action), where, self.config.call_seconds
                    )
                    result = checked_step(answer, where)
                    played.end_turn(result, time.perf_counter() - started, self.spec)
            except BoundaryError as error:
                await asyncio.shield(self._settle(played, classify(error, where)))
                raise
            played.used_at = time.monotonic()
            if played.over:
                self._over[played.handle] = played
                while len(self._over) > _KEPT:
                    del self._over[next(iter(self._over))]
                await asyncio.shield(self._settle(played))
            return result

    async def _end(self, played: Played) -> None:
        """Ends an episode that is not over: for its client, for want of one, or with the server."""
        if played.closed:
            return
        self._open.pop(played.handle, None)
        played.closed = True
        for step in list(played.steps):
            step.cancel()
        if played.steps:
            await asyncio.wait(list(played.steps))
        await self._settle(played)

    def _settle(self, played: Played, failure: Failure | None = None) -> asyncio.Task[None]:
        """Closes the environment of an episode that nobody plays on; the task that records it."""
        self._open.pop(played.handle, None)
        played.closed, played.failure = True, failure
        self._spawn(self._close_environment(played.env), f"{self.spec.id}.close")
        return self._spawn(self._record(played), "agentenv-mcp-record")

    async def _record(self, played: Played) -> None:
        if self._journal is None:
            return
        id = played.task.id
        while True:
            episode = played.episode(self.spec, self._siblings[id])
            self._siblings[id] += 1
            try:
                await self._journal.record(episode, spec=self.spec)
            except DuplicateEpisodeError:  # of an earlier server
                continue
            except JournalError as error:
                _LOG.error("an episode is not in the journal: %s", error)
            return

    async def _close_environment(self, env: Env) -> None:
        """Closes an environment. What goes wrong is logged: nobody is left whom it could be told."""
        where = f"{self.spec.id}.close"
        try:
            with self._resources.active(), boundary(Boundary.ENVIRONMENT, where):
                await self._in_time(lambda: env.close(), where, self.config.close_seconds)
        except BoundaryError as error:
            _LOG.warning("%s", error)

    async def _in_time(self, call: Callable[[], Awaitable[T]], where: str, seconds: float) -> T:
        return await self._limits.call(call, where, seconds, Budget(self._limits.clock, math.inf))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(self.config.lease / 4, 5.0))
            oldest = time.monotonic() - self.config.lease
            for played in [one for one in self._over.values() if one.used_at < oldest]:
                self._over.pop(played.handle, None)
            idle = [one for one in self._open.values() if one.used_at < oldest and not one.steps]
            await asyncio.gather(*(self._end(played) for played in idle))

    async def _stop(self) -> None:
        for task in (self._sweeping, *self._openings):
            task.cancel()
        await asyncio.gather(*(self._end(played) for played in list(self._open.values())))
        while self._background:
            await asyncio.wait(list(self._background))

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task of ours, so that it ends as it should whether or not somebody waits for it."""
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio reports one as lost whose caller has gone
