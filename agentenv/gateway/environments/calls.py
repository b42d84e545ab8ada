"""The calls a server makes to its environments: each under a time limit, each answer checked, each failure blamed."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from agentenv.env import Action, Env, Observation, StepResult
from agentenv.errors import AgentenvError, BoundaryError, EnvironmentFailure, UnsupportedError
from agentenv.gateway.environments.config import ServerConfig
from agentenv.messages import Message, Wire
from agentenv.outcome import Boundary, boundary
from agentenv.registry import EnvSpec
from agentenv.resources import Resources
from agentenv.rollout.answers import checked_reset, checked_step
from agentenv.rollout.budget import Budget
from agentenv.rollout.calls import Call
from agentenv.rollout.lent import LentCall
from agentenv.rollout.limits import Limits
from agentenv.rollout.loading import EnvironmentLoader
from agentenv.tasks import Task

Result = TypeVar("Result")

_LOG = logging.getLogger("agentenv.gateway")


@dataclass(frozen=True, slots=True)
class Visible:
    """What can be seen of an environment between two steps.

    Attributes:
        state_key: as text, the way the rollout engine records it.
        oracle: what a perfect policy would say now; `None` where that is not served or not known.
    """

    state_key: str | None = None
    oracle: Message | None = None


Stepped = tuple[StepResult, Visible]


@dataclass(slots=True, eq=False)
class Opened:
    """An environment after its reset."""

    env: Env
    task: Task
    seed: int | None
    observation: Observation
    info: Wire
    visible: Visible


class EnvironmentCalls:
    """Makes, resets, steps and closes environments of one specification.

    Args:
        spec: which.
        config: the limits.
        limits: runs the calls; shared by everything on one loop.
    """

    def __init__(self, spec: EnvSpec, config: ServerConfig, limits: Limits) -> None:
        self.spec = spec
        self._config = config
        self._limits = limits
        self._loader = EnvironmentLoader(None)
        self._resources = Resources()
        self._step = f"{spec.id}.step"

    async def load(self) -> None:
        """Imports the environment's code, so that the first session does not wait for it, and opens what they share."""
        await self._resources.__aenter__()
        await self._loader.load(self.spec)

    async def open(self, task: Task, seed: int | None) -> Opened:
        """A new environment, reset.

        Raises:
            BoundaryError: making or resetting it failed, or it plays with another seed than it was given.
        """
        made: list[Env] = []
        where = f"{self.spec.id}.reset"

        async def open_environment() -> Opened:
            await self._loader.load(self.spec)
            with boundary(Boundary.ENVIRONMENT, f"{self.spec.id}.make"):
                made.append(env := self.spec.make())
            with self._resources.active():
                answer: object = await env.reset(task=task, seed=seed)
            observation, info = checked_reset(answer, where)
            played = _own_seed(env)
            if seed is not None and played is not None and played != seed:
                raise EnvironmentFailure(f"{where} was given the seed {seed} and plays with {played}")
            return Opened(env, task, played, observation, dict(info), self._look(env))

        try:
            return await self._call(open_environment, where, self._config.environment_timeout)
        except BaseException:
            for env in made:
                await self.close(env)
            raise

    def budget(self) -> Budget:
        """The clock of one session's steps; they may take as long as they like all together."""
        return Budget(self._limits.clock, math.inf)

    def begin_step(self, env: Env, action: Action, budget: Budget) -> Call[Stepped]:
        """Begins a step, which `finish_step` must be awaited for."""
        return self._limits.begin(lambda: self._take(env, action), self._step, self._config.environment_timeout, budget)

    def attempt_step(self, env: Env, action: Action, budget: Budget) -> Stepped | LentCall[Stepped]:
        """Takes a step in the current task, as far as it comes without waiting; see `Limits.attempt`.

        Raises:
            BoundaryError: it failed already.
        """
        with boundary(Boundary.ENVIRONMENT, self._step):
            return self._limits.attempt(
                lambda: self._take(env, action), self._step, self._config.environment_timeout, budget
            )

    async def finish_step(self, call: Call[Stepped]) -> Stepped:
        """What the step led to, checked. Raises `BoundaryError` when it failed."""
        with boundary(Boundary.ENVIRONMENT, self._step):
            return await self._limits.finish(call)

    async def close(self, env: Env) -> None:
        """Closes an environment. What goes wrong is logged: nobody is left whom it could be told."""
        where = f"{self.spec.id}.close"
        try:
            await self._call(lambda: env.close(), where, self._config.close_timeout)
        except BoundaryError as error:
            _LOG.warning("%s", error)

    async def stop(self) -> None:
        await self._loader.close()
        await self._resources.__aexit__(None, None, None)

    async def _take(self, env: Env, action: Action) -> Stepped:
        with self._resources.active():
            answer: object = await env.step(action)
        result = checked_step(answer, self._step)
        over = result.terminated or result.truncated
        return result, Visible() if over else self._look(env)

    def _look(self, env: Env) -> Visible:
        key = env.state_key()
        return Visible(_as_text(key), self._ask_oracle(env) if self._config.answers else None)

    def _ask_oracle(self, env: Env) -> Message | None:
        try:
            return env.oracle()
        except UnsupportedError:
            return None

    async def _call(self, function: Callable[[], Awaitable[Result]], where: str, seconds: float) -> Result:
        with boundary(Boundary.ENVIRONMENT, where):
            return await self._limits.call(function, where, seconds, self.budget())


def _own_seed(env: Env) -> int | None:
    """The seed of the running episode, where the environment keeps one."""
    try:
        return env.seed
    except AgentenvError:
        return None


def _as_text(key: Hashable | None) -> str | None:
    return key if key is None or isinstance(key, str) else repr(key)
