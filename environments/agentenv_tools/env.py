"""`WorldEnv`: worlds with tools, a task about them, and a judgement of the state they are left in."""

from __future__ import annotations

import dataclasses
import random
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from agentenv.chat import Conversation
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError, VerifierError
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.rewards import reward
from agentenv.tasks import Json, Task, TaskSet
from agentenv.tool_env import ToolEnv
from agentenv.tool_rules import ToolRules, ToolUse
from agentenv.tools import ToolOutcome, ToolSet
from agentenv_tools.briefs import Brief, Call, seed_of
from agentenv_tools.reports import Report
from agentenv_tools.sources import WorldTasks
from agentenv_tools.world import Facts, Worlds, digest, world_kind

SYSTEM_PROMPT = (
    "Do the task with the tools, and change nothing that it does not ask for. Calls that do not need each other's "
    "results may be made in one turn. When all is done, reply without a call of a tool: with the line DONE, or, where "
    "the task asks a question, with the line ANSWER: and nothing but the answer."
)
_DRAWS = 200
"""How often a task is drawn anew where worlds have no room for it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the worlds were left like.

    Attributes:
        missing: things that are not as the task wanted them. unwanted: things that it did not ask to change, and that
            are not as they were.
        answered: whether the right answer was given; true where nothing was asked.
    """

    missing: int
    unwanted: int
    answered: bool

    @property
    def right(self) -> bool:
        return not self.missing and not self.unwanted and self.answered

    @classmethod
    def of(cls, before: Facts, wanted: Facts, found: Facts, *, answered: bool) -> Verdict:
        """Compares a state that was found with the one before and the one that was wanted."""
        names = before.keys() | wanted.keys() | found.keys()
        wrong = [name for name in names if _other(found, wanted, name)]
        missing = sum(_other(before, wanted, name) for name in wrong)
        return cls(missing, len(wrong) - missing, answered)


def _other(one: Facts, another: Facts, name: str) -> bool:
    """Whether a thing is different in two states. Types count: 1 is not `true`."""
    if (name in one) != (name in another):
        return True
    mine, theirs = one.get(name), another.get(name)
    return type(mine) is not type(theirs) or bool(mine != theirs)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an episode consists of."""

    task: Task
    seed: int
    conversation: Conversation
    tool_use: ToolUse
    made: tuple[ToolCall, ...]
    worlds: tuple[Any, ...]


class WorldEnv(ToolEnv):
    """Worlds with tools, and a task about them.

    A subclass names its worlds and draws tasks; what is paid is in its `@reward` methods, which read `self.verdict`.
    `GoalEnv` has the usual one.

    Args:
        tool_rules: which tools there are, what they cost, and how much may go wrong: see `agentenv.ToolRules`.
        characters: how much of one result is shown; what is cut off is said.
        system_prompt: sent first when it is not empty.
        seed: another seed is another stream of tasks over the same splits.

    Raises:
        ConfigError: characters below 100; a world that is not known.
    """

    worlds: ClassVar[tuple[str, ...]] = ()
    """The worlds of every episode, by name, in the order in which their tools are offered."""

    def __init__(
        self,
        tool_rules: ToolRules | Mapping[str, Any] | None = None,
        characters: int = 4_000,
        system_prompt: str = SYSTEM_PROMPT,
        seed: int = 0,
    ) -> None:
        super().__init__(tool_rules)
        if characters < 100:
            raise ConfigError(f"characters must be at least 100, got {characters}")
        self.system_prompt = system_prompt
        self._characters = characters
        self._task_seed = seed
        self._here: Worlds | None = None
        self._made: list[ToolCall] = []
        self.verdict: Verdict | None = None

    def world_options(self) -> Mapping[str, Mapping[str, Any]]:
        """What the constructors of worlds are given beside their generator, by the world's name. Override it."""
        return {}

    @abstractmethod
    def draw(self, rng: random.Random, worlds: Worlds) -> Brief | None:
        """A task in these worlds, or `None` where they have no room for one.

        What it asks for must change something, or ask something.
        """

    def tasks(self, split: str = "train") -> TaskSet:
        return WorldTasks(self._row, split=split, seed=self._task_seed)

    def _row(self, rng: random.Random) -> Task:
        # Where nothing can change, a world's seed would only make two tasks of one.
        changes = any(world_kind(name).stateful for name in self.worlds)
        for _ in range(_DRAWS):
            seed = rng.getrandbits(31) if changes else 0
            brief = self.draw(rng, self._drawn(seed))
            if brief is not None:
                return brief.task(seed)
        raise ConfigError(f"{type(self).__name__} drew no task in {_DRAWS} worlds; draw() refuses too many")

    def _drawn(self, seed: int) -> Worlds:
        return Worlds(self.worlds, seed, self.world_options())

    @property
    def here(self) -> Worlds:
        """The worlds of the running episode."""
        if self._here is None:
            self._here = self._drawn(seed_of(self.task))
        return self._here

    @property
    def brief(self) -> Brief:
        """What the running episode asks for."""
        return Brief.of(self.task)

    @property
    def all_tools(self) -> ToolSet:
        return _NO_TOOLS if self._task is None else self.here.tools

    async def setup(self) -> None:
        await self._leave()
        await self.here.open()

    async def _leave(self) -> None:
        left, self._here = self._here, None
        self._made, self.verdict = [], None
        if left is not None:
            await left.close()

    async def close(self) -> None:
        await self._leave()

    async def call_tools(self, calls: Sequence[ToolCall]) -> list[ToolOutcome]:
        outcomes = await super().call_tools(calls)
        self._made += [outcome.call for outcome in outcomes if outcome.error is None]
        return [self._cut(outcome) for outcome in outcomes]

    def _cut(self, outcome: ToolOutcome) -> ToolOutcome:
        """The outcome with no more of its result than may be shown."""
        content = outcome.message.content
        if not isinstance(content, str) or len(content) <= self._characters:
            return outcome
        shown = (
            f"{content[: self._characters]}\n[cut off: these are {self._characters:,} of {len(content):,} characters]"
        )
        return dataclasses.replace(outcome, message=dataclasses.replace(outcome.message, content=shown))

    async def respond(self, message: Message) -> Sequence[Message] | None:
        report = Report.of(message.text)
        asked = self.brief.answer is not None
        if not report.ends(asked=asked):
            ending = "ANSWER: and the answer" if asked else "DONE"
            return [user(f"This goes on until you reply with the line {ending}, and no call of a tool.")]
        self.verdict = await self.judge(report)
        return None

    async def judge(self, report: Report) -> Verdict:
        """What the worlds are like now, against what they should be like."""
        brief = self.brief
        before, wanted = await self.goal_facts()
        answered = brief.answer is None or report.answers_with(brief.answer)
        return Verdict.of(before, wanted, self.here.facts(), answered=answered)

    async def goal_facts(self) -> tuple[Facts, Facts]:
        """The state at the start of this episode, and the one its task asks for; found in worlds of their own.

        Raises:
            VerifierError: the task's own calls do not work in these worlds.
        """
        goal = self._drawn(seed_of(self.task))
        try:
            before = goal.facts()
            for turn in self.brief.turns:
                await _replay(goal, turn)
            return before, goal.facts()
        finally:
            await goal.close()

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if result.terminated and self.verdict is not None:
            metrics: dict[str, Json] = result.info["metrics"]
            metrics["success"] = self.verdict.right
            metrics["missing_changes"] = self.verdict.missing
            metrics["unwanted_changes"] = self.verdict.unwanted
        return result

    def oracle(self) -> Message:
        """The first turn of the task's own calls that have not all been made; afterwards the report.

        Where the rules have taken one of its tools away it goes straight to the report.
        """
        brief, left = self.brief, list(self._made)
        offered = {tool.name for tool in self.tools.specs}
        for turn in brief.turns:
            calls = [call for call in turn if not _crossed_off(call, left)]
            if calls and all(call.name in offered for call in calls):
                number = self.conversation.turns
                return assistant(None, *(call.message_call(f"call_{number}_{n}") for n, call in enumerate(calls)))
        return assistant(self.report(brief))

    def report(self, brief: Brief) -> str:
        """The last words of a perfect policy."""
        return "DONE" if brief.answer is None else f"ANSWER: {brief.answer}"

    def state_key(self) -> Hashable:
        return self.task.id, digest(self.here.facts()), frozenset(self.tool_use.results)

    def snapshot(self) -> Snapshot:
        """See `Env.snapshot`. Raises `UnsupportedError` where a world cannot be snapshotted."""
        worlds = self.here.snapshot()
        return Snapshot(self.task, self.seed, self.conversation, self.tool_use, tuple(self._made), worlds)

    def restore(self, snapshot: Snapshot) -> None:
        self.begin(snapshot.task, snapshot.seed)
        self.conversation = snapshot.conversation
        self.tool_use = snapshot.tool_use
        self._made, self.verdict = list(snapshot.made), None
        self._here = self._drawn(seed_of(snapshot.task))
        self._here.restore(snapshot.worlds)


class GoalEnv(WorldEnv):
    """A `WorldEnv` that pays 1 for the state the task asks for, and nothing for any other.

    Something that should be otherwise, something else that was changed, or a wrong answer: each makes it 0. The metrics
    `missing_changes` and `unwanted_changes` say which it was.
    """

    @reward(inline=True)
    def goal(self) -> float:
        """1 where everything is as it should be."""
        return float(self.verdict is not None and self.verdict.right)


_NO_TOOLS = ToolSet(())


def _crossed_off(call: Call, left: list[ToolCall]) -> bool:
    """Whether a call is among those that are left; it is taken out of them."""
    for made in left:
        if call.same_as(made):
            left.remove(made)
            return True
    return False


async def _replay(worlds: Worlds, turn: Sequence[Call]) -> None:
    """Makes the calls of a turn that can change something."""
    calls = [call.message_call("goal") for call in turn if call.name in worlds.changing]
    for outcome in await worlds.tools.call_all(calls):
        if outcome.error is not None:
            raise VerifierError(
                f"the task's own call {outcome.call.name}({outcome.call.arguments}) does not work: "
                f"{outcome.message.text}"
            )
