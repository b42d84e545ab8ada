"""Environments around environments: limits, transformations, and the bridge from synchronous code.

A wrapper delegates; it never copies an attribute, so what the inner environment changes later is seen outside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from agentenv.env import Action, Env, Info, Observation, StepResult, SyncEnv
from agentenv.errors import ConfigError
from agentenv.messages import Message
from agentenv.outcome import StopReason
from agentenv.tasks import Task, TaskSet
from agentenv.threads import THREADS

if TYPE_CHECKING:
    import numpy


class _Delegate(Env):
    """Everything of an inner environment but its three calls."""

    def __init__(self, inner: Env | SyncEnv) -> None:
        self._inner = inner
        self.spec = inner.spec

    @property
    def unwrapped(self) -> Env | SyncEnv:
        """The innermost environment."""
        return self._inner.unwrapped if isinstance(self._inner, _Delegate) else self._inner

    def begin(self, task: Task | None, seed: int | None) -> None:
        self._inner.begin(task, seed)

    @property
    def task(self) -> Task:
        return self._inner.task

    @property
    def seed(self) -> int:
        return self._inner.seed

    @property
    def rng(self) -> random.Random:
        return self._inner.rng

    @property
    def numpy_rng(self) -> numpy.random.Generator:
        return self._inner.numpy_rng

    def tasks(self, split: str = "train") -> TaskSet:
        return self._inner.tasks(split)

    def oracle(self) -> Message:
        return self._inner.oracle()

    def state_key(self) -> Hashable | None:
        return self._inner.state_key()

    def snapshot(self) -> Any:
        return self._inner.snapshot()

    def restore(self, snapshot: Any) -> None:
        self._inner.restore(snapshot)


class Threaded(_Delegate):
    """A synchronous environment as an `Env`: each call runs in a worker thread."""

    _inner: SyncEnv

    def __init__(self, env: SyncEnv) -> None:
        super().__init__(env)

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        result: tuple[Observation, Info] = await THREADS.run(lambda: self._inner.reset(task=task, seed=seed))
        return result

    async def step(self, action: Action) -> StepResult:
        result: StepResult = await THREADS.run(lambda: self._inner.step(action))
        return result

    async def close(self) -> None:
        await THREADS.run(self._inner.close)


def as_async(env: Env | SyncEnv) -> Env:
    """The environment itself when it is asynchronous, otherwise a `Threaded` one around it."""
    return Threaded(env) if isinstance(env, SyncEnv) else env


class Wrapper(_Delegate):
    """Base of wrappers: passes every call on. Override what should differ and call `super()` for the rest."""

    _inner: Env

    def __init__(self, env: Env | SyncEnv) -> None:
        super().__init__(as_async(env))

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        return await self._inner.reset(task=task, seed=seed)

    async def step(self, action: Action) -> StepResult:
        return await self._inner.step(action)

    async def close(self) -> None:
        await self._inner.close()


class Limited(Wrapper):
    """Truncates an episode at a limit on turns, tool calls or sampled tokens.

    The step that reaches a limit keeps its observation and reward and gets `truncated=True`, unless it terminated;
    `info["stop_reason"]` names the limit. Sampled tokens are counted where the action carries its token record.
    """

    def __init__(
        self,
        env: Env | SyncEnv,
        *,
        max_turns: int | None = None,
        max_tool_calls: int | None = None,
        max_sampled_tokens: int | None = None,
    ) -> None:
        super().__init__(env)
        limits = {
            StopReason.TURN_LIMIT: max_turns,
            StopReason.TOOL_CALL_LIMIT: max_tool_calls,
            StopReason.TOKEN_LIMIT: max_sampled_tokens,
        }
        if any(limit is not None and limit < 1 for limit in limits.values()):
            raise ConfigError(f"limits must be at least 1, got {limits}")
        self._limits = {reason: limit for reason, limit in limits.items() if limit is not None}
        self._used: dict[StopReason, int] = {}

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self._used = dict.fromkeys(self._limits, 0)
        return await super().reset(task=task, seed=seed)

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        spent = {
            StopReason.TURN_LIMIT: 1,
            StopReason.TOOL_CALL_LIMIT: len(action.message.tool_calls),
            StopReason.TOKEN_LIMIT: len(action.tokens.sampled_ids) if action.tokens else 0,
        }
        for reason in self._limits:
            self._used[reason] += spent[reason]
        reached = [reason for reason, limit in self._limits.items() if self._used[reason] >= limit]
        if not reached or result.terminated or result.truncated:
            return result
        return result._replace(truncated=True, info={**result.info, "stop_reason": reached[0].value})

    def snapshot(self) -> tuple[dict[StopReason, int], Any]:
        return dict(self._used), super().snapshot()

    def restore(self, snapshot: tuple[dict[StopReason, int], Any]) -> None:
        used, inner = snapshot
        self._used = dict(used)
        super().restore(inner)


class Transformed(Wrapper):
    """Passes observations, actions and rewards through functions.

    >>> shout = Transformed(env, reward=lambda value: None if value is None else 2 * value)  # doctest: +SKIP
    """

    def __init__(
        self,
        env: Env | SyncEnv,
        *,
        observation: Callable[[Observation], Observation] = lambda observation: observation,
        action: Callable[[Action], Action] = lambda action: action,
        reward: Callable[[float | None], float | None] = lambda reward: reward,
    ) -> None:
        super().__init__(env)
        self._observation = observation
        self._action = action
        self._reward = reward

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        observation, info = await super().reset(task=task, seed=seed)
        return self._observation(observation), info

    async def step(self, action: Action) -> StepResult:
        result = await super().step(self._action(action))
        return result._replace(observation=self._observation(result.observation), reward=self._reward(result.reward))
