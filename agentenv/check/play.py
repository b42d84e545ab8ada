"""Playing one episode and writing down everything the contract says about it.

Whatever the environment does wrong becomes a `Problem` of the trace; nothing it does escapes as an exception.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agentenv.check.catalogue import Probe
from agentenv.check.report import shorten
from agentenv.check.stage import Hold, Stage
from agentenv.env import Action, Env, Observation
from agentenv.errors import EpisodeTimeout, RewardTypeError, UnsupportedError, VerifierError
from agentenv.messages import Message
from agentenv.processes import IsolatedTimeoutError
from agentenv.rewards import as_reward
from agentenv.tasks import Task
from agentenv.tools import ToolSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the audit is. Seconds of wall-clock time, and turns of one episode."""

    call_seconds: float = 10.0
    grace_seconds: float = 1.0
    audit_seconds: float = 90.0
    attack_turns: int = 6
    oracle_turns: int = 200
    endless_turns: int = 60
    block_warning_seconds: float = 0.05
    block_error_seconds: float = 0.25


@dataclass(frozen=True, slots=True)
class Problem:
    """A breach of the contract: which probe it belongs to, and what was seen in which call."""

    probe: Probe
    detail: str


@dataclass(slots=True)
class Trace:
    """One play: what was sent, what came back (as canonical JSON lines), and what was wrong."""

    lines: list[str] = field(default_factory=list)
    actions: list[Message] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    holds: list[tuple[str, Hold]] = field(default_factory=list)
    prompt: str = ""
    tools: tuple[ToolSpec, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False
    broken: bool = False
    no_oracle: bool = False

    @property
    def total(self) -> float | None:
        """The return so far; `None` when the play broke or a step was not scored."""
        if self.broken or not self.rewards or any(reward is None for reward in self.rewards):
            return None
        return math.fsum(reward for reward in self.rewards if reward is not None)

    def difference(self, other: Trace) -> str | None:
        """What is different, in words; `None` when both plays went the same way."""
        for turn, (mine, theirs) in enumerate(zip(self.lines, other.lines, strict=False)):
            if mine != theirs:
                return f"turn {turn}: {_unlike(mine, theirs)}"
        if len(self.lines) != len(other.lines):
            return f"{len(self.lines)} calls instead of {len(other.lines)}"
        return None


class _Stopped(Exception):
    """The play cannot go on; the trace says why."""


Oracle = Callable[[], Awaitable[Message]]
Actor = Callable[[int, Observation, Oracle], Awaitable[Message | None]]
"""(turn, what was observed last, a way to ask the oracle) → the next message, or `None` to stop."""


def follow_oracle() -> Actor:
    async def act(turn: int, observation: Observation, oracle: Oracle) -> Message | None:
        return await oracle()

    return act


def recite(messages: Sequence[Message]) -> Actor:
    """Sends the messages in order, then stops."""

    async def act(turn: int, observation: Observation, oracle: Oracle) -> Message | None:
        return messages[turn] if turn < len(messages) else None

    return act


def insist(message: Message, turns: int) -> Actor:
    """Sends the same message again and again."""
    return recite((message,) * turns)


def work_then(message: Message, turns: int) -> Actor:
    """Makes the oracle's tool calls, and says `message` where the oracle would answer."""

    async def act(turn: int, observation: Observation, oracle: Oracle) -> Message | None:
        if turn >= turns:
            return None
        right = await oracle()
        return right if right.tool_calls else message

    return act


class Player:
    """One episode on one instance, call by call."""

    def __init__(self, env: Env, stage: Stage, limits: Limits) -> None:
        self.env = env
        self.trace = Trace()
        self._stage = stage
        self._limits = limits
        self._observation = Observation()

    async def play(self, task: Task | None, seed: int, actor: Actor) -> Trace:
        """Reset and steps, to the end or until the actor stops. Does not close."""
        if await self.start(task, seed):
            while await self.turn(actor):
                pass
        return self.trace

    async def start(self, task: Task | None, seed: int) -> bool:
        """The reset. Says whether the episode can go on."""
        try:
            result = await self._call("reset", lambda: self.env.reset(task=task, seed=seed))
            if not isinstance(result, tuple) or len(result) != 2:
                self._stop(Probe.STEP_SHAPE, f"reset returned {shorten(repr(result))}, not (Observation, info)")
            observation, info = result
            self._see(observation, info, "reset")
        except _Stopped:
            return False
        self.trace.prompt = "\n".join(message.text for message in self._observation.messages)
        self.trace.info = info
        self.trace.tools = tuple(self._observation.tools)
        self.trace.lines.append(_line(self._observation))
        return True

    async def turn(self, actor: Actor) -> bool:
        """One action and its step. Says whether the episode can go on."""
        try:
            message = await actor(len(self.trace.actions), self._observation, self._oracle)
            if message is None:
                return False
            self.trace.actions.append(message)
            result = await self._call("step", lambda: self.env.step(Action(message)))
            return self._record(result)
        except _Stopped:
            return False

    async def close(self) -> None:
        """Closes the instance; a failure is a problem of the trace."""
        try:
            await self._call("close", self.env.close)
        except _Stopped:
            return

    def _record(self, result: Any) -> bool:
        if not isinstance(result, tuple) or len(result) != 5:
            self._stop(Probe.STEP_SHAPE, f"step returned {shorten(repr(result))}, not the five-tuple")
        observation, raw, terminated, truncated, info = result
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if type(flag).__name__ not in ("bool", "bool_"):
                self._stop(Probe.STEP_SHAPE, f"step returned {name}={shorten(repr(flag))}, not a bool")
        try:
            reward = as_reward(raw, "step")
        except VerifierError as error:
            self._stop(Probe.REWARD_TYPE, str(error))
        self._see(observation, info, "step")
        value = None if reward is None else float(reward)
        self.trace.rewards.append(value)
        self.trace.lines.append(_line(self._observation, value, bool(terminated), bool(truncated)))
        if terminated and truncated:
            self._note(Probe.TERMINATED_AND_TRUNCATED, "step returned terminated=True and truncated=True")
        self.trace.ended = bool(terminated or truncated)
        return not self.trace.ended

    def _see(self, observation: Any, info: Any, where: str) -> None:
        self._observation = self._observation_of(observation, where)
        if not isinstance(info, Mapping):
            self._stop(Probe.STEP_SHAPE, f"{where} returned info of type {type(info).__name__}, not a mapping")
        try:
            json.dumps(dict(info))
        except (TypeError, ValueError, RecursionError) as error:
            self._note(Probe.INFO_JSON, f"info of {where}: {error}")

    def _observation_of(self, value: Any, where: str) -> Observation:
        if not isinstance(value, Observation):
            self._stop(Probe.OBSERVATION, f"{where} returned {shorten(repr(value))}, not an Observation")
        if not isinstance(value.messages, Sequence) or not all(isinstance(item, Message) for item in value.messages):
            self._stop(Probe.OBSERVATION, f"{where}: messages are {shorten(repr(value.messages))}, not Message objects")
        try:
            for message in value.messages:
                if Message.from_wire(json.loads(json.dumps(message.to_wire()))).role != message.role:
                    raise ValueError("the role changed")
            json.dumps([tool.to_wire() for tool in value.tools])
        except Exception as error:
            self._stop(Probe.OBSERVATION, f"{where}: a message does not survive its wire format: {error}")
        observation: Observation = value
        return observation

    async def _oracle(self) -> Message:
        async def ask() -> Message:
            return self.env.oracle()

        message = await self._call("oracle", ask)
        if not isinstance(message, Message):
            self._stop(Probe.ORACLE_FAILS, f"oracle() returned {shorten(repr(message))}, not a Message")
        found: Message = message
        return found

    async def _call(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Awaits one call with its timeout; turns whatever goes wrong into a problem and `_Stopped`."""
        limits = self._limits
        self._stage.take_longest()

        async def call() -> Any:
            try:
                return await make()
            except (SystemExit, KeyboardInterrupt) as error:  # they would end the stage's loop with the episode
                if self._stage.abandoned:
                    raise
                raise RuntimeError(f"{type(error).__name__} instead of an Exception") from error

        task = asyncio.get_running_loop().create_task(call())
        try:
            done, _ = await asyncio.wait({task}, timeout=limits.call_seconds)
            self.trace.holds.append((name, self._stage.take_longest()))
            if not done:
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=limits.grace_seconds)
                self._note(Probe.HANGS, f"{name} gave no answer in {limits.call_seconds:g} s")
                if not done:
                    self._note(Probe.IGNORES_CANCELLATION, f"{name} went on after it was cancelled")
                raise self._broken()
        finally:
            task.cancel()
        if task.cancelled():
            self._stop(Probe.RAISES, f"{name} raised CancelledError")
        error = task.exception()
        if error is not None:
            self._blame(name, error)
        return task.result()

    def _blame(self, name: str, error: BaseException) -> NoReturn:
        text = f"{name} raised {type(error).__name__}: {shorten(str(error))}"
        if name == "oracle":
            if isinstance(error, UnsupportedError):
                self.trace.no_oracle = True
                raise self._broken()
            self._stop(Probe.ORACLE_FAILS, text)
        if name == "close":
            self._stop(Probe.CLOSE_FAILS, text)
        if isinstance(error, IsolatedTimeoutError | EpisodeTimeout | TimeoutError):
            self._stop(Probe.HANGS, text)
        if isinstance(error, RewardTypeError):
            self._stop(Probe.REWARD_TYPE, str(error))
        self._stop(Probe.RAISES, text)

    def _note(self, probe: Probe, detail: str) -> None:
        self.trace.problems.append(Problem(probe, detail))

    def _stop(self, probe: Probe, detail: str) -> NoReturn:
        self._note(probe, detail)
        raise self._broken()

    def _broken(self) -> _Stopped:
        self.trace.broken = True
        return _Stopped()


def _line(
    observation: Observation, reward: float | None = None, terminated: bool = False, truncated: bool = False
) -> str:
    row = {
        "messages": [message.to_wire() for message in observation.messages],
        "tools": [tool.name for tool in observation.tools],
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
    }
    return json.dumps(row, sort_keys=True)


def _unlike(mine: str, theirs: str) -> str:
    ours, others = json.loads(mine), json.loads(theirs)
    names = [name for name in ours if ours[name] != others[name]]
    name = "reward" if "reward" in names else names[0]
    return f"{name} {shorten(json.dumps(ours[name]), 80)} instead of {shorten(json.dumps(others[name]), 80)}"
