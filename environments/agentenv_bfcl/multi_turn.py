"""`bfcl/multi-turn-v0`: conversations about simulated worlds, judged by what is left of the worlds."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentenv.arguments import Arguments, ArgumentsError
from agentenv.chat import Conversation
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, ToolCall, assistant, system
from agentenv.outcome import StopReason
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import Tool, ToolErrorKind, ToolOutcome, ToolSet
from agentenv_bfcl.scenarios import Category, Scenario, message_of, read_tasks, scenario_of
from agentenv_bfcl.simulators import Worlds
from agentenv_bfcl.verdicts import Failure, failure

STEPS_PER_TURN = 20
"""Messages with calls that a user's turn may take, in BFCL."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The first thing that went wrong in an episode, and the user's turn it was in, from 0."""

    failure: Failure
    turn: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an episode consists of."""

    task: Task
    seed: int
    conversation: Conversation
    tool_use: ToolUse
    worlds: bytes
    hidden: frozenset[str]
    turn: int
    steps: int
    calls: int
    responses: Mapping[str, int]
    failed: Failed | None


class MultiTurn(ToolEnv):
    """A user who asks for one thing after the other, and tools that change a file system, a shop, a car, …

    A message with calls makes them, in their order. A message without ends the user's turn, and is answered with the
    next one. After the last, the reward is 1 if in each turn in which the ground truth does something, the policy has
    made a call, every simulator held at the end what it holds after the ground truth's calls, and the calls so far had
    answered all that the ground truth's calls of that turn answer; else 0. A turn of more than `steps_per_turn`
    messages with calls cuts the episode off, without reward.

    Arguments are not held to the tools' schemas, as little as in BFCL, some of whose ground truths do not fit them: a
    simulator takes what it is given, and says what it cannot use.

    Args:
        category: the name of a `Category`; by default all.
        silence: whether a call counts as a mistake in a turn in which the ground truth makes none. BFCL has this rule,
            and a runner that does not apply it.
        steps_per_turn: see above.
        default_split: the split the tasks belong to. They are a benchmark: nothing should be trained on them.
        system_prompt: sent first when it is not empty.
        tool_rules: see `ToolEnv`.

    Raises:
        ConfigError: there is no such category, or no step in a turn. MissingDataError: BFCL's data are not installed.
    """

    def __init__(
        self,
        category: str | None = None,
        silence: bool = False,
        steps_per_turn: int = STEPS_PER_TURN,
        default_split: str = "test",
        system_prompt: str = "",
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(tool_rules)
        if steps_per_turn < 1:
            raise ConfigError(f"steps_per_turn must be 1 or more, got {steps_per_turn}")
        self._categories = Category.chosen(category)
        self._silence = silence
        self._steps_per_turn = steps_per_turn
        self._default_split = default_split
        self.system_prompt = system_prompt
        self._scenario: Scenario | None = None
        self._worlds = Worlds({})
        self._functions = ToolSet([])
        self._shown: ToolSet | None = None
        self._begin_episode()

    def _begin_episode(self) -> None:
        self._hidden: frozenset[str] = frozenset()
        self._turn = 0
        self._steps = 0
        self._calls = 0
        self._responses: Counter[str] = Counter()
        self.failed: Failed | None = None

    def tasks(self, split: str = "train") -> TaskSet:
        if split != self._default_split:
            raise ConfigError(f"BFCL is played as the split {self._default_split!r}; there is no {split!r} of it")
        return ListTasks([task for category in self._categories for task in _tasks(category, split)])

    @property
    def scenario(self) -> Scenario:
        """What the running episode's task is made of."""
        return scenario_of(self.task) if self._scenario is None else self._scenario

    @property
    def all_tools(self) -> ToolSet:
        """Every function of the worlds, also those that are not shown yet."""
        return self._functions

    @property
    def tools(self) -> ToolSet:
        if self._shown is None:
            offered = super().tools
            repair = self.tool_rules.repair
            self._shown = _PartlyShown(offered, self._hidden, repair=repair) if self._hidden else offered
        return self._shown

    @property
    def tool_names(self) -> Collection[str]:
        return [offer.spec.name for offer in self.scenario.offers]

    async def setup(self) -> None:
        self._scenario = scenario_of(self.task)
        self._worlds = Worlds.thaw(self._scenario.initial)
        self._begin_episode()
        self._make_functions(frozenset(name for turn in self._scenario.turns[1:] for name in turn.revealed))

    def _make_functions(self, hidden: frozenset[str]) -> None:
        self._functions = ToolSet(
            [
                Tool(offer.spec, self._worlds.function(offer.simulator, offer.spec.name), _READER, _SECONDS, True)
                for offer in self.scenario.offers
            ]
        )
        self._hide(hidden)

    def _hide(self, hidden: frozenset[str]) -> None:
        self._hidden, self._shown = hidden, None

    def prompt(self) -> tuple[Message, ...]:
        head = (system(self.system_prompt),) if self.system_prompt else ()
        return head + self.scenario.turns[0].messages

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if result.terminated or result.truncated:
            return result._replace(info={**result.info, "verdict": self._verdict})
        if self._steps <= self._steps_per_turn:
            return result
        self._fail(Failure.STEP_LIMIT)
        info = {**result.info, "verdict": self._verdict, "stop_reason": StopReason.TURN_LIMIT.value}
        return result._replace(truncated=True, info=info)

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        outcomes = await super().call_tools(calls)
        self._steps += 1
        for outcome in outcomes:
            if outcome.error not in _NOT_CALLED:
                self._calls += 1
                self._responses[outcome.message.text] += 1
        return outcomes

    async def respond(self, message: Message) -> Sequence[Message] | None:
        turns = self.scenario.turns
        wrong = failure(turns[self._turn], self._worlds, self._calls, self._responses, silence=self._silence)
        if wrong is not None:
            self._fail(wrong)
        self._turn += 1
        self._steps = self._calls = 0
        if self._turn == len(turns):
            return None
        if revealed := turns[self._turn].revealed:
            self._hide(self._hidden - revealed)
        return turns[self._turn].messages

    @reward(inline=True)
    def correct(self) -> float:
        """1 when nothing was wrong with any turn."""
        return float(self.failed is None)

    def _fail(self, wrong: Failure) -> None:
        if self.failed is None:
            self.failed = Failed(wrong, self._turn)

    @property
    def _verdict(self) -> dict[str, str | int]:
        if self.failed is None:
            return {"failure": "none"}
        return {"failure": self.failed.failure.value, "turn": self.failed.turn}

    def oracle(self) -> Message:
        """The ground truth's calls of a turn in one message, then a message that ends the turn."""
        turns = self.scenario.turns
        if self._turn >= len(turns) or self._calls or not turns[self._turn].calls:
            return assistant("Done.")
        return message_of(self._turn, turns[self._turn].calls)

    def state_key(self) -> Hashable | None:
        """The worlds, what has been found out about them, and the user's turn; `None` for a folder inside itself."""
        known = sorted(self._responses.items())
        try:
            digest = hashlib.blake2b(repr((self._worlds.state, known)).encode(), digest_size=16).hexdigest()
        except RecursionError:
            return None
        return self.task.id, self._turn, digest

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.task,
            self.seed,
            self.conversation,
            self.tool_use,
            self._worlds.freeze(),
            self._hidden,
            self._turn,
            self._steps,
            self._calls,
            dict(self._responses),
            self.failed,
        )

    def restore(self, snapshot: Snapshot) -> None:
        self.begin(snapshot.task, snapshot.seed)
        self._scenario = scenario_of(snapshot.task)
        self._worlds = Worlds.thaw(snapshot.worlds)
        self._make_functions(snapshot.hidden)
        self.conversation = snapshot.conversation
        self.tool_use = snapshot.tool_use
        self._turn, self._steps, self._calls = snapshot.turn, snapshot.steps, snapshot.calls
        self._responses = Counter(snapshot.responses)
        self.failed = snapshot.failed


class _PartlyShown(ToolSet):
    """Tools of which a policy is not told all.

    The others answer as well, should it call them: so it is in BFCL, whose ground truth of `miss_func_49` does.
    """

    def __init__(self, tools: ToolSet, hidden: frozenset[str], *, repair: bool) -> None:
        super().__init__(list(tools), repair=repair)
        self.specs = tuple(spec for spec in self.specs if spec.name not in hidden)


class _AnyObject:
    """Arguments as they come, by name."""

    def read(self, raw: object) -> Arguments:
        if not isinstance(raw, dict):
            raise ArgumentsError(f"they must be an object, got {type(raw).__name__}")
        return Arguments(raw)


_READER = _AnyObject()
_SECONDS = 30.0
"""A tool's time limit. These answer at once, see `bounds`."""

_NOT_CALLED = (ToolErrorKind.INVALID_JSON, ToolErrorKind.INVALID_ARGUMENTS, ToolErrorKind.REFUSED)
"""Calls that BFCL cannot read either, or that were not made."""


@functools.lru_cache(maxsize=16)
def _tasks(category: Category, split: str) -> tuple[Task, ...]:
    """The rows of a category. An environment is made per episode, so they are read once."""
    return read_tasks(category, split)
