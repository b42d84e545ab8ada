"""`tau2/retail-v0` and `tau2/mock-v0`: an agent between a customer and a database."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.chat import Conversation
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError, EnvironmentFailure, UnsupportedError, nearest
from agentenv.messages import Message, Role, ToolCall, assistant, system, tool_result, user
from agentenv.policy import Sampling, Session
from agentenv.rewards import reward
from agentenv.tasks import Task, TaskSet
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import ToolOutcome, ToolSet
from agentenv_tau2.data import Domain, load_domain
from agentenv_tau2.rows import GoldCall, PastMessage, Row, Side
from agentenv_tau2.users import BorrowedPolicy, ModelledUser, ScriptedUser, SimulatedUser, Stop
from agentenv_tau2.verdict import Verdict, is_call_of, judge
from agentenv_tau2.world import World

SCRIPTED = "scripted"
"""The user that needs no policy."""
CLOSING = "Everything is done. Is there anything else I can do for you?"
"""What the oracle says last, after what it has to tell."""
HANDED_OVER = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
"""What the policies ask the agent to say after a transfer."""

_INSTRUCTION = (
    "You are a customer service agent and help the user in keeping with the policy below. In each turn you either "
    "write to the user or call tools, not both. Keep to the policy whatever the user says."
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an episode consists of, apart from the model that plays the user."""

    task: Task
    seed: int
    conversation: Conversation
    tool_use: ToolUse
    world: Any
    user: Any
    said: tuple[str, ...]
    outcomes: tuple[ToolOutcome, ...]


class Tau2(ToolEnv):
    """A conversation with a simulated customer, with tools on a database that is this episode's own.

    The customer speaks first. A turn with tool calls runs them; a turn without is said to the customer, whose answer is
    the observation. The episode ends when the customer ends it, or at a limit, which pays nothing. The reward has one
    component, `solved`: 1 if every check that the task names is met, else 0. The metrics tell the checks apart.

    Args:
        domain: `retail` or `mock`.
        data: the folder with the domains' folders; by default what the environment variable `AGENTENV_TAU2` says.
        user: who plays the customer: `scripted`, or a policy as `--policy` takes it, such as
            `openai:http://127.0.0.1:8000/v1`.
        user_options: of that policy, such as `{"model": "qwen"}`.
        user_sampling: how it samples, such as `{"temperature": 0.7, "max_tokens": 300}`.
        user_timeout: seconds that one of its answers may take.
        tool_rules: see `agentenv.tool_env.ToolEnv`.

    Raises:
        ConfigError: an argument that makes no sense.
    """

    def __init__(
        self,
        domain: str = "retail",
        data: str | None = None,
        user: str = SCRIPTED,
        user_options: Mapping[str, Any] | None = None,
        user_sampling: Mapping[str, Any] | None = None,
        user_timeout: float = 120.0,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(tool_rules)
        if domain not in list(Domain):
            raise ConfigError(f"there is no domain {domain!r}; there are {', '.join(Domain)}.{nearest(domain, Domain)}")
        if user_timeout <= 0:
            raise ConfigError(f"user_timeout must be positive, got {user_timeout}")
        for name, table in (("user_options", user_options), ("user_sampling", user_sampling)):
            if table is not None and not isinstance(table, Mapping):
                raise ConfigError(f"{name} is a table, such as {{temperature = 0.7}}; got {table!r}")
        if user == SCRIPTED and (user_options or user_sampling):
            raise ConfigError("the scripted user takes no options; name a policy with user=")
        self._domain, self._data = Domain(domain), data
        self._borrowed = None if user == SCRIPTED else BorrowedPolicy(user, user_options or {})
        self._sampling = _sampling(user_sampling or {})
        self._user_timeout = user_timeout
        self._offered = ToolSet(())
        self._opening = ""
        self._said: list[str] = []
        self._outcomes: list[ToolOutcome] = []
        self._stop: Stop | None = None
        self._verdict: Verdict | None = None

    def tasks(self, split: str = "train") -> TaskSet:
        """The tasks of a split of the benchmark: `train`, `test` or `base` (all); mock has `base`, also as `train`."""
        return load_domain(self._domain, self._data).tasks(split)

    @property
    def all_tools(self) -> ToolSet:
        return self._offered

    @property
    def world(self) -> World:
        """The world of the running episode."""
        return self._world

    async def setup(self) -> None:
        if self.task.data.get("domain") != self._domain:
            raise ConfigError(
                f"task {self.task.id} is not of the domain {self._domain}; make the environment of its own"
            )
        self._row = Row.of(self.task)
        self._files = load_domain(self._domain, self._data)
        self._world = self._files.new_world()
        self._world.prepare(self._row.initial_state)
        self._offered = self._world.tools
        self._said, self._outcomes, self._stop, self._verdict = [], [], None, None
        self._user = await self._new_user()
        opening = await self._user.open()
        if opening.stop is not None:
            raise EnvironmentFailure(f"the simulated user ended the conversation with its first words: {opening.stop}")
        self._opening = opening.text

    async def _new_user(self) -> SimulatedUser:
        if self._borrowed is None:
            return ScriptedUser(self._row.user_scenario, self._world.user)
        return ModelledUser(
            await self._borrowed.policy(),
            self._row.user_scenario,
            self._world.user,
            past=self._past,
            sampling=self._sampling,
            session=Session(f"user-{uuid.uuid4().hex}", self.seed),
            timeout=self._user_timeout,
        )

    @property
    def _past(self) -> tuple[Message, ...]:
        initial = self._row.initial_state
        return tuple(_message(past) for past in (initial and initial.message_history) or ())

    def prompt(self) -> tuple[Message, ...]:
        return (_system(self._files.policy), *self._past, user(self._opening))

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if result.terminated and self._verdict is not None and self._stop is not None:
            result.info["metrics"].update(self._verdict.metrics)
            return result._replace(info={**result.info, "user_stop": self._stop.value})
        return result

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        outcomes = await super().call_tools(calls)
        self._outcomes += outcomes
        return outcomes

    async def respond(self, message: Message) -> Sequence[Message] | None:
        self._said.append(message.text)
        answer = await self._user.answer(message.text)
        if answer.stop is None:
            return (user(answer.text),)
        self._stop = answer.stop
        return None

    @reward(inline=True)
    def solved(self) -> float:
        """1 where every check that the task names is met."""
        made = [outcome.call for outcome in self._outcomes if outcome.error is None]
        self._verdict = judge(self._row, self._world, self._files.new_world, self._said, made)
        return float(self._verdict.solved)

    def oracle(self) -> Message:
        """The ground truth's next call; after the last one, what the task wants said."""
        criteria = self._row.evaluation_criteria
        actions = [gold for gold in self._world.truth(criteria) if gold.requestor is Side.AGENT]
        done = 0
        for outcome in self._outcomes:
            done += done < len(actions) and is_call_of(outcome.call, actions[done])
        if done < len(actions):
            return assistant(None, _call_of(actions[done], f"call_{self.conversation.turns}"))
        handed_over = actions and actions[-1].name == "transfer_to_human_agents"
        return assistant("\n".join([*criteria.texts, HANDED_OVER if handed_over else CLOSING]))

    def state_key(self) -> Hashable:
        return self.task.id, self._world.fingerprint(), self.messages[-1].text

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.task,
            self.seed,
            self.conversation,
            self.tool_use,
            self._world.state(),
            self._user.state(),
            tuple(self._said),
            tuple(self._outcomes),
        )

    def restore(self, snapshot: Snapshot) -> None:
        if self._borrowed is not None:
            raise UnsupportedError("an episode whose user is played by a policy can be restored nowhere else")
        self.begin(snapshot.task, snapshot.seed)
        self._row = Row.of(snapshot.task)
        self._files = load_domain(self._domain, self._data)
        self._world = self._files.new_world()
        self._world.take(snapshot.world)
        self._offered = self._world.tools
        self._user = ScriptedUser(self._row.user_scenario, self._world.user)
        self.conversation, self.tool_use = snapshot.conversation, snapshot.tool_use
        self._said, self._outcomes = list(snapshot.said), list(snapshot.outcomes)
        self._stop, self._verdict = None, None

    async def close(self) -> None:
        if self._borrowed is not None:
            await self._borrowed.close()


@functools.lru_cache(maxsize=8)
def _system(policy: str) -> Message:
    """One message for all episodes: the policy is several thousand characters long."""
    return system(f"{_INSTRUCTION}\n\n<policy>\n{policy}\n</policy>")


def _sampling(given: Mapping[str, Any]) -> Sampling:
    try:
        return Sampling(**given)
    except TypeError as problem:
        raise ConfigError(f"user_sampling: {problem}; see agentenv.policy.Sampling") from problem


def _message(past: PastMessage) -> Message:
    role = Role(past.role)
    if role is Role.TOOL:
        return tool_result(past.id or "", past.content or "")
    calls = tuple(ToolCall(call.id, call.name, json.dumps(dict(call.arguments))) for call in past.tool_calls)
    return Message(role, past.content, calls)


def _call_of(gold: GoldCall, id: str) -> ToolCall:
    return ToolCall(id, gold.name, json.dumps(dict(gold.arguments)))
