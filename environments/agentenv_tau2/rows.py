"""The benchmark's task rows, as values. What would change a score and is not known is refused, by name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

import pydantic

from agentenv.tasks import Task


class Check(StrEnum):
    """What a task's reward is made of; the reward is the product."""

    DATABASE = "DB"
    """The database ends as the ground truth's calls leave it."""
    COMMUNICATE = "COMMUNICATE"
    """The agent said each of the required texts."""
    ACTION = "ACTION"
    """The agent made each of the ground truth's calls."""
    ASSERTION = "ENV_ASSERTION"
    """Each assertion about the world holds."""
    JUDGEMENT = "NL_ASSERTION"
    """A language model agrees to each sentence. Not computed here: see `agentenv_tau2.verdict`."""


class Side(StrEnum):
    """Whose tools are meant."""

    AGENT = "assistant"
    USER = "user"


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Instructions(_Strict):
    """What the customer wants, and what he or she knows."""

    domain: str
    reason_for_call: str
    task_instructions: str
    known_info: str | None = None
    unknown_info: str | None = None


class Scenario(_Strict):
    """Who the customer is, and what for."""

    persona: str | None = None
    instructions: Instructions | str


class GoldCall(_Strict):
    """A call of the ground truth.

    `compare_args` names the arguments that a call must share with it to count as the same; `None` stands for all.
    """

    action_id: str
    name: str
    arguments: Mapping[str, Any]
    requestor: Side = Side.AGENT
    info: str | None = None
    compare_args: tuple[str, ...] | None = None


class WorldCall(_Strict):
    """A function of the world that prepares it."""

    env_type: Side
    func_name: str
    arguments: Mapping[str, Any]


class Assertion(WorldCall):
    """A function of the world, and what it must say in the end."""

    assert_value: bool = True
    message: str | None = None


class InitialData(_Strict):
    """Records by table and id, laid over those of the database."""

    agent_data: Mapping[str, Mapping[str, Any]] = {}


class PastCall(_Strict):
    """A tool call in a conversation that came before."""

    id: str
    name: str
    arguments: Mapping[str, Any]


class PastMessage(_Strict):
    """A message of a conversation that came before; a tool's answer has the id of its call."""

    role: str
    content: str | None = None
    tool_calls: tuple[PastCall, ...] = ()
    id: str | None = None
    turn_idx: int | None = None


class InitialState(_Strict):
    """What there is before the customer says a word."""

    initialization_data: InitialData | None = None
    initialization_actions: tuple[WorldCall, ...] | None = None
    message_history: tuple[PastMessage, ...] | None = None


class Criteria(_Strict):
    """How an episode is judged. `actions` that are `None` say nothing; an empty list says that nothing may change."""

    actions: tuple[GoldCall, ...] | None = None
    env_assertions: tuple[Assertion, ...] | None = None
    communicate_info: tuple[str, ...] | None = None
    nl_assertions: tuple[str, ...] | None = None
    reward_basis: tuple[Check, ...] = (Check.DATABASE, Check.COMMUNICATE)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the agent has to say, word for word."""
        return self.communicate_info or ()

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Sentences that count in the benchmark's own reward and that nothing here stands in for."""
        judged = Check.JUDGEMENT not in self.reward_basis or self.texts
        return () if judged else self.nl_assertions or ()


class Row(pydantic.BaseModel):
    """A task of the benchmark: what of `tasks.json` matters for playing and judging it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    id: str
    user_scenario: Scenario
    initial_state: InitialState | None = None
    evaluation_criteria: Criteria

    def task(self, domain: str, split: str) -> Task:
        """The row as an environment's task; what it is judged by is the task's `answer`."""
        told = self.model_dump(mode="json", exclude={"evaluation_criteria"})
        answer = self.evaluation_criteria.model_dump(mode="json")
        return Task(f"tau2-{domain}-{self.id}", (), answer, {"domain": domain, **told}, split)

    @classmethod
    def of(cls, task: Task) -> Self:
        """The row that `task` made the task from."""
        return cls.model_validate({**task.data, "evaluation_criteria": task.answer})
