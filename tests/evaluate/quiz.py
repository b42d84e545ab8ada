"""The environment that the tests of evaluation play: twelve questions, of which a policy may know some."""

from __future__ import annotations

import random
import time

from agentenv.chat import ChatEnv
from agentenv.messages import Message, assistant
from agentenv.registry import EnvSpec
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet

SIZE = 12


class Quiz(ChatEnv):
    def __init__(self, broken: list[str] | None = None) -> None:
        super().__init__()
        self._broken = broken or []

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks(
            [Task.ask(f"q{index}", f"Say {index}.", answer=str(index), split=split) for index in range(SIZE)]
        )

    async def setup(self) -> None:
        if self.task.id in self._broken:
            raise RuntimeError("the projector is broken")

    @reward(inline=True)
    def correct(self, completion: str, answer: str) -> float:
        return float(completion == answer)

    @reward(weight=0.0, inline=True)
    def length(self, completion: str) -> float:
        return float(len(completion))

    def oracle(self) -> Message:
        return assistant(self.task.answer)


class Endless(Quiz):
    """An endless source of at most 41 different tasks."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(lambda rng: Task.ask("", f"Say {rng.randint(0, 40)}.", answer=""), split=split)


DRAWN: list[int] = []
"""A draw of `Slow`'s each."""


class Slow(Quiz):
    """Five different tasks, invented without end and slowly."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(self._draw, split=split)

    def _draw(self, rng: random.Random) -> Task:
        DRAWN.append(1)
        time.sleep(0.0001)
        return Task.ask("", f"Say {rng.randint(0, 4)}.", answer="")


class Empty(Quiz):
    def tasks(self, split: str = "train") -> TaskSet:
        if split == "explode":
            raise RuntimeError("no such file")
        return ListTasks([])


QUIZ = EnvSpec(id="quiz-v0", entry_point="tests.evaluate.quiz:Quiz")
ENDLESS = EnvSpec(id="endless-v0", entry_point="tests.evaluate.quiz:Endless")
SLOW = EnvSpec(id="slow-v0", entry_point="tests.evaluate.quiz:Slow")
EMPTY = EnvSpec(id="empty-v0", entry_point="tests.evaluate.quiz:Empty")
