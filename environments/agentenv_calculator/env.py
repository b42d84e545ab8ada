"""`calculator-v0`: the policy must call a tool, read its result, and answer with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from agentenv.chat import ChatEnv, Conversation
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.rewards import Component, Reward, reward
from agentenv.tasks import ProceduralTasks, Task, TaskSet
from agentenv.tools import tool
from agentenv_calculator.problems import Chain, evaluate

MAX_LEVEL = 10
"""The registered turn limit of eleven leaves room for ten calls and an answer."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an episode consists of; nothing in it draws random numbers after `reset`."""

    task: Task
    seed: int
    conversation: Conversation
    results: tuple[int, ...]
    paid: int


class Calculator(ChatEnv):
    """A chain of operations such as "12 times 34, then minus 5", to be worked out from left to right.

    The tool does one operation a call, so a task of level n takes n calls, each on the result of the one before.
    The final answer is a message without tool calls whose whole text is the number. It earns 1 when it is right and
    the tool returned every intermediate value and the answer, in that order; a right guess earns nothing unless
    `require_tool=False`. Everything else earns 0.

    With `progress` = p above 0 a right answer earns 1 − p, and each call that brings the chain a step further earns its
    equal share of p: a reward for single turns. The metric `success` tells right answers from progress either way.

    Args:
        level: how many operations: one number, or (lowest, highest) to draw from uniformly.
        operand_max: the largest operand; the smallest is 2.
        require_tool: pay only for values the tool returned in this episode.
        progress: the share of the reward that is paid for the steps, from 0 up to but not including 1.
        system_prompt: sent first when it is not empty.
        seed: another seed is another stream of tasks over the same splits.
    """

    def __init__(
        self,
        level: int | Sequence[int] = (1, 2),
        operand_max: int = 99,
        require_tool: bool = True,
        progress: float = 0.0,
        system_prompt: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._low, self._high = _level_range(level)
        if not 3 <= operand_max <= 999:
            raise ConfigError(f"operand_max must lie between 3 and 999, got {operand_max}")
        self._operand_max = operand_max
        if not 0 <= progress < 1:
            raise ConfigError(
                f"progress is the share of the reward paid for the steps, from 0 to below 1, got {progress}"
            )
        self._require_tool = require_tool
        self._progress = progress
        self._paid = 0
        self._task_seed = seed
        self._results: list[int] = []
        self.system_prompt = system_prompt

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(
            lambda rng: Chain.draw(rng, rng.randint(self._low, self._high), self._operand_max).task(),
            split=split,
            seed=self._task_seed,
        )

    async def setup(self) -> None:
        self._results = []
        self._paid = 0

    async def step(self, action: Action) -> StepResult:
        result = await super().step(action)
        if result.terminated and result.reward is not None:
            result.info["metrics"]["success"] = result.reward > 0
        return result

    @tool(inline=True)
    def calculator(self, expression: str) -> str:
        """Calculates one operation on two whole numbers and returns the result.

        Supports + (plus), - (minus) and * (times). It does exactly one operation per call; for a longer calculation
        call it again with the previous result as the first number.

        Args:
            expression: Two integers with one operator between them, for example "12*34", "408-5" or "-7+20".
        """
        value = evaluate(expression)
        self._results.append(value)
        return str(value)

    async def score_turn(self, message: Message) -> Reward:
        """What the steps of this turn earn."""
        done, paid = self._steps_done, self._paid
        self._paid = done
        if not self._progress:
            return Reward.of()
        share = (done - paid) / len(self.task.data["values"])
        return Reward.of(Component("progress", share, self._progress))

    async def score(self) -> Reward | None:
        components = [
            dataclasses.replace(component, weight=1.0 - self._progress)
            for component in (await super().score() or Reward.of()).components
        ]
        return Reward.of(*components)

    @reward(inline=True)
    def correct(self, completion: str, answer: int) -> float:
        """1 for the number and nothing else, once the calls have led to it."""
        worked_out = self._steps_done == len(self.task.data["values"]) or not self._require_tool
        return float(worked_out and completion.strip() == str(answer))

    def oracle(self) -> Message:
        expressions = self.task.data["expressions"]
        done = self._steps_done
        if done == len(expressions):
            return assistant(str(self.task.answer))
        arguments = json.dumps({"expression": expressions[done]})
        return assistant(None, ToolCall(f"call_{self.conversation.turns}", "calculator", arguments))

    def state_key(self) -> Hashable:
        return self.task.id, tuple(self._results)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.task, self.seed, self.conversation, tuple(self._results), self._paid)

    def restore(self, snapshot: Snapshot) -> None:
        self.begin(snapshot.task, snapshot.seed)
        self.conversation = snapshot.conversation
        self._results = list(snapshot.results)
        self._paid = snapshot.paid

    @property
    def chain(self) -> Chain:
        """What this episode asks for."""
        return Chain.of(self.task)

    @property
    def _steps_done(self) -> int:
        """How many of the chain's values the tool has returned, in their order.

        Values are compared, not expressions: "34*12" is as good as "12*34".
        """
        values = self.task.data["values"]
        done = 0
        for result in self._results:
            done += done < len(values) and result == values[done]
        return done


def _level_range(level: int | Sequence[int]) -> tuple[int, int]:
    low, high = (level, level) if isinstance(level, int) else tuple(level)
    if not 1 <= low <= high <= MAX_LEVEL:
        raise ConfigError(f"level must be a number or a rising pair between 1 and {MAX_LEVEL}, got {level!r}")
    return low, high
