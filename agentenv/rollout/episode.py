"""One attempt at one episode: make → reset → (complete → step)* → close, and the record of it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from agentenv.env import Action, Env, Observation, StepResult
from agentenv.episode import Episode, Turn
from agentenv.errors import AgentenvError, BoundaryError, ContextLengthError
from agentenv.messages import Message
from agentenv.outcome import Boundary, Failure, Status, StopReason, boundary, classify
from agentenv.policy.contract import Policy, Session
from agentenv.registry import EnvSpec
from agentenv.rewards import as_reward
from agentenv.rollout.answers import check_return, checked_completion, checked_reset, checked_step
from agentenv.rollout.budget import Budget, OutOfTime
from agentenv.rollout.calls import Call
from agentenv.rollout.config import RolloutConfig
from agentenv.rollout.limits import Limits
from agentenv.rollout.request import EpisodeRequest
from agentenv.rollout.stats import ModelCalls

Result = TypeVar("Result")

_LOG = logging.getLogger("agentenv.rollout")

MakeEnv = Callable[[EnvSpec], Env]


@dataclass(frozen=True, slots=True)
class Played:
    """An attempt and what the engine noticed about it that is no part of the episode: stalls, a failing close."""

    episode: Episode
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ending:
    status: Status
    stop_reason: StopReason
    failure: Failure | None = None


@dataclass(slots=True, eq=False)
class _Attempt:
    """What is known of a running attempt. Failures must leave whatever was there before them."""

    request: EpisodeRequest
    number: int
    budget: Budget
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    where: str = ""
    env: Env | None = None
    observation: Observation = field(default_factory=Observation)
    state_key: str | None = None
    conversation: list[Message] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class EpisodePlayer:
    """Plays attempts, any number at a time. Never raises for what an environment or a policy does.

    Args:
        policy: answers the conversations.
        config: the limits.
        limits: runs the calls; shared by everything on one loop.
        make_env: builds an environment from its specification, on the event loop.
        prepare: awaited before that, to import what it needs.
        model_calls: told when a call to the policy begins and ends.
    """

    def __init__(
        self,
        policy: Policy,
        config: RolloutConfig,
        limits: Limits,
        make_env: MakeEnv,
        prepare: Callable[[EnvSpec], Awaitable[None]] | None = None,
        model_calls: ModelCalls | None = None,
    ) -> None:
        self._policy = policy
        self._config = config
        self._limits = limits
        self._make_env = make_env
        self._prepare = prepare
        self._model_calls = model_calls or ModelCalls()

    async def play(self, request: EpisodeRequest, attempt: int, budget: Budget) -> Played:
        """Plays one attempt to its end, whatever that is, and closes its environment.

        Cancellation ends it with status `cancelled` instead of an exception, unless it was already over; the caller
        sees it in its task's `cancelling()`.
        """
        running = _Attempt(request, attempt, budget)
        started_at, started, stalls = time.time(), time.perf_counter(), len(budget.stalls)
        try:
            ending = await self._limits.supervise(lambda call: self._play(running, call), str(request.key), budget)
        except asyncio.CancelledError:
            ending = _Ending(Status.CANCELLED, StopReason.CANCELLED)
        except BoundaryError as error:
            reason = error.reason if isinstance(error, OutOfTime) else StopReason.FAILURE
            failure = classify(error, running.where)
            if failure.boundary is Boundary.TIMEOUT and reason is StopReason.FAILURE:
                reason = StopReason.CALL_TIMEOUT
            ending = _Ending(failure.status, reason, failure)
        await self._close(running)
        running.notes.extend(str(stall) for stall in budget.stalls[stalls:])
        episode = Episode(
            id=running.id,
            key=request.key,
            task=request.task,
            seed=request.seed,
            policy=self._policy.name,
            attempt=attempt,
            status=ending.status,
            stop_reason=ending.stop_reason,
            turns=tuple(running.turns),
            final_observation=running.observation,
            failure=ending.failure,
            started_at=started_at,
            seconds=time.perf_counter() - started,
        )
        return Played(episode, tuple(running.notes))

    async def _play(self, running: _Attempt, call: Call[_Ending]) -> _Ending:
        session = await self._open(running, call)
        while True:
            try:
                turn = await self._ask(running, call, session)
            except ContextLengthError:
                return self._checked(running, _Ending(Status.TRUNCATED, StopReason.CONTEXT_LENGTH))
            # Recorded before the step, so that a step that fails leaves behind the action it failed on.
            running.turns.append(turn)
            result = await self._step(running, call, turn)
            if result.terminated:
                return self._checked(running, _Ending(Status.OK, StopReason.TERMINATED))
            if result.truncated:
                return self._checked(running, _Ending(Status.TRUNCATED, _limit_reached(result)))

    async def _open(self, running: _Attempt, call: Call[_Ending]) -> Session:
        """Makes and resets the environment; the session is what the policy is told of the episode."""
        request = running.request

        async def open_environment() -> None:
            if self._prepare is not None:
                await self._prepare(request.spec)
            with boundary(Boundary.ENVIRONMENT, f"{request.spec.id}.make"):
                running.env = env = self._make_env(request.spec)
            with boundary(Boundary.ENVIRONMENT, running.where):
                answer: object = await env.reset(task=request.task, seed=request.seed)
                running.observation, _ = checked_reset(answer, running.where)
                running.state_key = _as_text(env.state_key())

        await self._call_environment(running, call, "reset", open_environment)
        running.conversation.extend(running.observation.messages)
        return Session(running.id, request.session_seed, running.env)

    async def _ask(self, running: _Attempt, call: Call[_Ending], session: Session) -> Turn:
        """The policy's next action, as a turn whose step is still to come."""
        messages, tools, sampling = tuple(running.conversation), running.observation.tools, running.request.sampling
        running.where = where = f"{self._policy.name}.complete"
        started = time.perf_counter()
        with boundary(Boundary.MODEL, where), self._model_calls.one():
            answer: object = await call.part(
                lambda: self._policy.complete(messages, tools, sampling, session), where, self._config.model_timeout
            )
        completion = checked_completion(answer, where)
        return Turn(
            index=len(running.turns),
            observation=running.observation,
            action=Action(completion.message, completion.tokens),
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            reward=None,
            terminated=False,
            truncated=False,
            state_key=running.state_key,
            model_seconds=time.perf_counter() - started,
            model_attempts=completion.attempts,
        )

    async def _step(self, running: _Attempt, call: Call[_Ending], turn: Turn) -> StepResult:
        """Plays the turn's action and completes the record of the turn."""
        env = running.env
        if env is None:
            raise AgentenvError("an episode cannot step before its environment is made")

        async def step_environment() -> StepResult:
            await asyncio.sleep(0)  # a policy and an environment that never wait would keep the loop to themselves
            answer: object = await env.step(turn.action)
            result = checked_step(answer, running.where)
            over = result.terminated or result.truncated
            running.state_key = None if over else _as_text(env.state_key())
            return result

        started = time.perf_counter()
        result = await self._call_environment(running, call, "step", step_environment)
        observation, reward, terminated, truncated, info = result
        running.turns[-1] = dataclasses.replace(
            turn,
            reward=as_reward(reward, running.where),
            terminated=terminated,
            truncated=truncated,
            info=info,
            environment_seconds=time.perf_counter() - started,
        )
        running.conversation.append(turn.action.message)
        running.conversation.extend(observation.messages)
        running.observation = observation
        return result

    def _checked(self, running: _Attempt, ending: _Ending) -> _Ending:
        """The ending, unless the rewards add up to something the specification rules out."""
        spec = running.request.spec
        rewards = [turn.reward for turn in running.turns]
        if None not in rewards:
            running.where = spec.id
            check_return(math.fsum(reward for reward in rewards if reward is not None), spec.reward_range, spec.id)
        return ending

    async def _close(self, running: _Attempt) -> None:
        """Closes the environment. What goes wrong here is noted and changes nothing about the episode."""
        env = running.env
        if env is None:
            return
        where, seconds = f"{running.request.spec.id}.close", self._config.close_timeout
        try:
            with boundary(Boundary.ENVIRONMENT, where):
                await self._limits.call(lambda: env.close(), where, seconds, Budget(self._limits.clock, math.inf))
        except asyncio.CancelledError:
            running.notes.append(f"{where} was cancelled")
        except BoundaryError as error:
            running.notes.append(str(error))
            _LOG.warning("%s", error)

    async def _call_environment(
        self, running: _Attempt, call: Call[_Ending], name: str, function: Callable[[], Awaitable[Result]]
    ) -> Result:
        running.where = where = f"{running.request.spec.id}.{name}"
        with boundary(Boundary.ENVIRONMENT, where):
            return await call.part(function, where, self._config.environment_timeout)


def _limit_reached(result: StepResult) -> StopReason:
    """The limit a truncating environment names in `info["stop_reason"]`, if it names one."""
    try:
        return StopReason(str(result.info.get("stop_reason")))
    except ValueError:
        return StopReason.ENVIRONMENT_TRUNCATED


def _as_text(key: Hashable | None) -> str | None:
    return key if key is None or isinstance(key, str) else repr(key)
