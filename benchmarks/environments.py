"""The environments ours is measured with, written as a user would write them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentenv import ChatEnv, ListTasks, Message, Task, TaskSet, reward, user
from benchmarks.workload import Sum, sums

TURNS = 5
SLOW_S = 10.0


def task(question: Sum) -> Task:
    return Task.ask(f"sum-{question.index}", question.question, answer=question.answer)


class SingleTurn(ChatEnv):
    """One sum, one answer, graded as the peers grade it: the answer occurs in the reply."""

    def __init__(self, count: int = 100) -> None:
        super().__init__()
        self._size = count

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([task(question) for question in sums(self._size)])

    @reward
    def right_answer(self, completion: str, answer: str) -> float:
        return float(answer in completion)


class FiveTurns(SingleTurn):
    """The same question five times over; the last reply is graded."""

    async def setup(self) -> None:
        self._left = TURNS - 1

    async def respond(self, message: Message) -> Sequence[Message] | None:
        if self._left == 0:
            return None
        self._left -= 1
        return [user(f"Are you sure? Once more: {self.task.question}")]


class OneSlow(FiveTurns):
    """As ``FiveTurns``, but the environment of the very first task takes ten seconds to answer its second turn."""

    async def respond(self, message: Message) -> Sequence[Message] | None:
        if self.task.id == "sum-0" and self._left == TURNS - 2:
            await asyncio.sleep(SLOW_S)
        return await super().respond(message)
