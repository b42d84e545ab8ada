"""One episode that a client plays, and the record of it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Hashable
from dataclasses import dataclass, field

from agentenv.env import Action, Env, Observation, StepResult
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import Message
from agentenv.outcome import Boundary, Failure, Status, StopReason
from agentenv.registry import EnvSpec
from agentenv.rewards import Component, Reward, as_reward
from agentenv.rollout.answers import check_return
from agentenv.tasks import Task


@dataclass(eq=False, slots=True)
class Played:
    """An episode in play.

    Attributes:
        handle: what calls name it by; nobody can guess it.
        observation: what was shown last.
        closed: whether its environment takes no more steps.
        failure: what went wrong, if it ended so.
        used_at: monotonic seconds of the last call.
        steps: those that are being taken, or wait for their turn.
    """

    handle: str
    env: Env
    task: Task
    seed: int
    opening: Observation
    observation: Observation = field(init=False)
    turns: list[Turn] = field(default_factory=list)
    closed: bool = False
    failure: Failure | None = None
    used_at: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    steps: set[asyncio.Task[StepResult]] = field(default_factory=set)
    _state_key: str | None = None
    _id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _started_at: float = field(default_factory=time.time)
    _started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.observation = self.opening
        self._state_key = _as_text(self.env.state_key())

    @property
    def terminated(self) -> bool:
        return bool(self.turns) and self.turns[-1].terminated

    @property
    def truncated(self) -> bool:
        return bool(self.turns) and self.turns[-1].truncated

    @property
    def over(self) -> bool:
        """Whether the environment has ended it."""
        return self.terminated or self.truncated

    @property
    def earned(self) -> Reward | None:
        """What all turns have earned together; `None` once one of them was not scored."""
        components: list[Component] = []
        for turn in self.turns:
            if turn.reward is None:
                return None
            components += turn.reward.components
        return Reward.of(*components)

    def begin_turn(self, message: Message) -> Action:
        """Notes what the client does, so that a step that fails leaves behind what it failed on."""
        action = Action(message)
        reason = "tool_calls" if message.tool_calls else "stop"
        self.turns.append(
            Turn(
                len(self.turns),
                self.observation,
                action,
                reason,
                Usage(),
                None,
                False,
                False,
                state_key=self._state_key,
            )
        )
        return action

    def end_turn(self, result: StepResult, seconds: float, spec: EnvSpec) -> None:
        """Notes what that led to.

        Raises:
            VerifierError: the episode is over and has earned what the specification rules out.
        """
        self.turns[-1] = dataclasses.replace(
            self.turns[-1],
            reward=as_reward(result.reward, spec.id),
            terminated=result.terminated,
            truncated=result.truncated,
            info=result.info,
            environment_seconds=seconds,
        )
        self.observation = result.observation
        if not self.over:
            self._state_key = _as_text(self.env.state_key())
        elif (earned := self.earned) is not None:
            check_return(float(earned), spec.reward_range, spec.id)

    def episode(self, spec: EnvSpec, sibling: int) -> Episode:
        """The record of it, as it stands."""
        status, reason = self._ending()
        return Episode(
            id=self._id,
            key=EpisodeKey(spec.id, self.task.id, self.task.id, sibling),
            task=self.task,
            seed=self.seed,
            policy="mcp",
            attempt=1,
            status=status,
            stop_reason=reason,
            turns=tuple(self.turns),
            final_observation=self.observation,
            failure=self.failure,
            started_at=self._started_at,
            seconds=time.perf_counter() - self._started,
        )

    def _ending(self) -> tuple[Status, StopReason]:
        if self.failure is not None:
            late = self.failure.boundary is Boundary.TIMEOUT
            return self.failure.status, StopReason.CALL_TIMEOUT if late else StopReason.FAILURE
        if self.terminated:
            return Status.OK, StopReason.TERMINATED
        if self.truncated:
            return Status.TRUNCATED, _limit_named(self.turns[-1])
        return Status.CANCELLED, StopReason.CANCELLED


def _limit_named(turn: Turn) -> StopReason:
    try:
        return StopReason(str(turn.info.get("stop_reason")))
    except ValueError:
        return StopReason.ENVIRONMENT_TRUNCATED


def _as_text(key: Hashable | None) -> str | None:
    return key if key is None or isinstance(key, str) else repr(key)
