"""Environments of many kinds with nothing wrong: none of them may be accused of an error."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence

from agentenv.chat import ChatEnv
from agentenv.env import Action, Env, Info, Observation, StepResult, SyncEnv
from agentenv.messages import Message, ToolCall, assistant, user
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet
from agentenv.tools import ToolSpec, tool
from tests.check.zoo import Sums, a_sum


class LastNumber(Sums):
    """Takes the last number of a free text, as many mathematics graders do."""

    def verify(self, said: str, answer: str) -> float:
        found = re.findall(r"\d+", said)
        return float(bool(found) and found[-1] == answer)

    def oracle(self) -> Message:
        return assistant(f"Adding gives {self.task.answer}")


class Tagged(Sums):
    """Wants `#### answer` after some reasoning."""

    def verify(self, said: str, answer: str) -> float:
        return float(said.rpartition("#### ")[2] == answer)

    def oracle(self) -> Message:
        return assistant(f"{self.task.question} It is {self.task.answer}.\n#### {self.task.answer}")


class PartialCredit(Sums):
    """Pays the share of right digits, all of it for all of them."""

    def verify(self, said: str, answer: str) -> float:
        if len(said) != len(answer):
            return 0.0
        return sum(mine == theirs for mine, theirs in zip(said, answer, strict=True)) / len(answer)


class YesOrNo(Sums):
    """Half of the tasks are right to answer with yes."""

    def tasks(self, split: str = "train") -> TaskSet:
        def make(rng: random.Random) -> Task:
            number = rng.randint(10_000, 99_999)
            return Task.ask("", f"Is {number} even?", answer="no" if number % 2 else "yes")

        return ProceduralTasks(make, split=split)


class ManyAnswers(Sums):
    """Any two numbers with the right sum will do, so the oracle's is one of thousands."""

    def verify(self, said: str, answer: str) -> float:
        parts = re.fullmatch(r"(\d{1,9}) \+ (\d{1,9})", said)
        return float(parts is not None and int(parts[1]) + int(parts[2]) == int(answer))

    def oracle(self) -> Message:
        return assistant(f"{int(self.task.answer) - 7} + 7")


class JsonAnswers(Sums):
    """The answer is an object; anything else is worth nothing."""

    def verify(self, said: str, answer: str) -> float:
        try:
            found = json.loads(said)
        except ValueError:
            return 0.0
        return float(isinstance(found, dict) and found.get("sum") == int(answer))

    def oracle(self) -> Message:
        return assistant(json.dumps({"sum": int(self.task.answer)}))


class Adder(ChatEnv):
    """Tools: only what the tool returned counts as an answer."""

    max_turns = 8

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(a_sum, split=split)

    async def setup(self) -> None:
        self.returned: list[str] = []

    @tool(inline=True)
    def add(self, first: int, second: int) -> int:
        """Adds two numbers."""
        self.returned.append(str(first + second))
        return first + second

    @reward(inline=True)
    def correct(self, completion: str, answer: str) -> float:
        return float(completion == answer and answer in self.returned)

    def oracle(self) -> Message:
        if self.returned:
            return assistant(self.task.answer)
        first, second = re.findall(r"\d+", self.task.question)
        return assistant(None, ToolCall("call_1", "add", json.dumps({"first": int(first), "second": int(second)})))


class HigherLower(ChatEnv):
    """Several turns: guess a number, be told higher or lower."""

    max_turns = 12
    _hidden = 0

    def tasks(self, split: str = "train") -> TaskSet:
        start = {"train": 0, "dev": 200, "test": 400}[split]
        return ListTasks([Task.ask(f"{n}", f"Game {n}: guess 1 to 1000.", answer=n) for n in range(start, start + 50)])

    async def setup(self) -> None:
        self._hidden = random.Random(f"{self.task.id}/{self.seed}").randint(1, 1000)

    async def respond(self, message: Message) -> Sequence[Message] | None:
        said = int(message.text) if re.fullmatch(r"\d{1,4}", message.text) else None
        if said == self._hidden:
            return None
        return (user("A number, please." if said is None else "higher" if said < self._hidden else "lower"),)

    @reward(inline=True)
    def found(self) -> float:
        return 1.0

    def oracle(self) -> Message:
        return assistant(str(self._hidden))


class Walk(Env):
    """No tasks, dense step penalties and a declared range; the seed rules the length of the way."""

    reward_range = (-20.0, 1.0)
    max_turns = 20

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task or Task("walk"), seed)
        self.left = 1 + self.rng.randint(1, 5)
        return Observation((user(f"{self.left} steps to the door. Say 'go'."),)), {}

    async def step(self, action: Action) -> StepResult:
        self.left -= action.message.text == "go"
        home = self.left == 0
        return StepResult(Observation((user(f"{self.left} left"),)), 1.0 if home else 0.0, home, False, {})

    def oracle(self) -> Message:
        return assistant("go")


class Blocking(SyncEnv):
    """Written without async."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(a_sum, split=split)

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        return Observation(self.task.prompt), {}

    def step(self, action: Action) -> StepResult:
        return StepResult(Observation(), float(action.message.text == self.task.answer), True, False, {})

    def oracle(self) -> Message:
        return assistant(self.task.answer)


class EndsWithACall(Env):
    """The answer is a tool's argument, and giving it ends the episode: nothing is said after that."""

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        spec = ToolSpec("submit", "Gives the answer.", {"type": "object", "properties": {"sum": {"type": "integer"}}})
        return Observation((user(self.task.question),), (spec,)), {}

    async def step(self, action: Action) -> StepResult:
        calls = action.message.tool_calls
        right = any(call.arguments == json.dumps({"sum": int(self.task.answer)}) for call in calls)
        return StepResult(Observation(), float(right), True, False, {})

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(a_sum, split=split)

    def oracle(self) -> Message:
        return assistant(None, ToolCall("1", "submit", json.dumps({"sum": int(self.task.answer)})))


HEALTHY: list[type[Env] | type[SyncEnv]] = [
    Sums,
    LastNumber,
    Tagged,
    PartialCredit,
    YesOrNo,
    ManyAnswers,
    JsonAnswers,
    Adder,
    HigherLower,
    Walk,
    Blocking,
    EndsWithACall,
]
