"""The environment contract: Gymnasium's five-tuple, awaited, with chat messages as observations and actions.

    observation, info = await env.reset(task=task, seed=7)
    observation, reward, terminated, truncated, info = await env.step(action)
    await env.close()

`Env` is the whole contract. Most environments are easier to write as a `ChatEnv` (see `agentenv.chat`).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from agentenv.errors import AgentenvError, UnsupportedError
from agentenv.messages import Message
from agentenv.tasks import Task, TaskSet
from agentenv.tokens import TokenRecord
from agentenv.tools import ToolSpec

if TYPE_CHECKING:
    import numpy

    from agentenv.registry import EnvSpec

Info = Mapping[str, Any]
"""Diagnostics of a reset or step: JSON-serialisable, recorded in the journal, never shown to the policy.

Keys with a meaning everywhere: `"metrics"`, a mapping of names to numbers that are averaged over episodes; `"tools"`,
one `{"name", "error", "seconds"}` per tool call of the step; `"stop_reason"`, which limit truncated the episode; and
`"contained"`, a sentence about a fault of the environment's own code that it kept from spreading (`agentenv check`
reports it).
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is new since the last action: messages to append to the conversation, and the tools now available."""

    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """One assistant message, with the tokens it was sampled as when they are known."""

    message: Message
    tokens: TokenRecord | None = None


class StepResult(NamedTuple):
    """Gymnasium's five-tuple.

    `reward` is a finite float, a `Reward` with named components, or `None` for "not scored". `terminated` (the task
    ended) and `truncated` (a limit cut it) are never merged: a truncated episode bootstraps, a terminated one does
    not.
    """

    observation: Observation
    reward: float | None
    terminated: bool
    truncated: bool
    info: Info


class _Episodic:
    """What asynchronous and synchronous environments share: the episode's task, seed and generators."""

    spec: EnvSpec | None = None
    """The registry entry this environment was made from, if it was."""

    _task: Task | None = None
    _seed: int | None = None
    _rng: random.Random | None = None
    _numpy_rng: numpy.random.Generator | None = None

    def begin(self, task: Task | None, seed: int | None) -> None:
        """Starts an episode's bookkeeping; the first line of every `reset`.

        With `task=None` the environment's own first task for `seed` is taken. With `seed=None` a fresh seed is drawn
        from the operating system.
        """
        self._seed = random.SystemRandom().getrandbits(31) if seed is None else seed
        self._rng = random.Random(self._seed)
        self._numpy_rng = None
        self._task = task if task is not None else next(iter(self.tasks("train").shuffle(self._seed)))

    @property
    def task(self) -> Task:
        """The task of the running episode."""
        if self._task is None:
            raise AgentenvError(f"{type(self).__name__}: no episode yet; reset() must call self.begin(task, seed)")
        return self._task

    @property
    def seed(self) -> int:
        """The seed of the running episode."""
        if self._seed is None:
            raise AgentenvError(f"{type(self).__name__}: no episode yet; reset() must call self.begin(task, seed)")
        return self._seed

    @property
    def rng(self) -> random.Random:
        """This episode's own generator. Nothing in an environment may touch the global one."""
        if self._rng is None:
            raise AgentenvError(f"{type(self).__name__}: no episode yet; reset() must call self.begin(task, seed)")
        return self._rng

    @property
    def numpy_rng(self) -> numpy.random.Generator:
        """This episode's own NumPy generator."""
        if self._numpy_rng is None:
            import numpy

            self._numpy_rng = numpy.random.default_rng(self.seed)
        return self._numpy_rng

    def tasks(self, split: str = "train") -> TaskSet:
        """The tasks this environment comes with."""
        raise UnsupportedError(f"{type(self).__name__} has no tasks of its own; pass task= or override tasks(split)")

    def oracle(self) -> Message:
        """The message a perfect policy would send now. Tests and `agentenv check` play it; policies never see it."""
        raise UnsupportedError(f"{type(self).__name__} has no oracle; override oracle() so that it can be checked")

    def state_key(self) -> Hashable | None:
        """What state the agent is in (the anchor state of GiGPO), or `None` where that has no meaning."""
        return None

    def snapshot(self) -> Any:
        """A value from which `restore` continues the episode, on this or another instance."""
        raise UnsupportedError(f"{type(self).__name__} cannot be snapshotted")

    def restore(self, snapshot: Any) -> None:
        raise UnsupportedError(f"{type(self).__name__} cannot be restored")


class Env(_Episodic, ABC):
    """An asynchronous environment. One instance plays one episode at a time; `reset` may be called again after it.

    Errors an environment raises are its own: the engine records `env_error` with the name of the call and goes on
    with the other episodes. Raise `SandboxError` or `VerifierError` to blame what is really at fault.

    Example:
        class Countdown(Env):
            async def reset(self, *, task=None, seed=None):
                self.begin(task, seed)
                self.left = 3
                return Observation((user("Say 'down' three times."),)), {}

            async def step(self, action):
                self.left -= action.message.text == "down"
                return StepResult(Observation((user(f"{self.left} left"),)), 0.0, self.left == 0, False, {})
    """

    @abstractmethod
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        """Starts an episode: calls `self.begin(task, seed)` and returns the opening observation."""

    @abstractmethod
    async def step(self, action: Action) -> StepResult:
        """Answers one assistant message."""

    async def close(self) -> None:
        """Frees what the environment holds. Called once, also after a failure; must not fail."""


class SyncEnv(_Episodic, ABC):
    """An environment written without `async`. Its calls run in a worker thread, so they may block."""

    @abstractmethod
    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        """As `Env.reset`."""

    @abstractmethod
    def step(self, action: Action) -> StepResult:
        """As `Env.step`."""

    def close(self) -> None:
        """As `Env.close`."""
