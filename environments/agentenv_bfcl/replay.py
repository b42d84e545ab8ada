"""Plays BFCL's ground truths through the environment, and things that must not pass for them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentenv.env import Action, Env
from agentenv.messages import assistant
from agentenv.registry import make
from agentenv.tasks import Task
from agentenv_bfcl.scenarios import Category, TrueCall, forget_scenarios, message_of, scenario_of

ID, SPLIT = "bfcl/multi-turn-v0", "test"


class Script(StrEnum):
    """What is played.

    `TRUTH`: the ground truth. `NO_OP`: no call. `OTHER_TURNS`: the ground truth's turns, each one too early, and the
    first one last. `OTHER_TASK`: the ground truth of the category's next task, which begins with a like world.
    """

    TRUTH = "ground truth"
    NO_OP = "no-op"
    OTHER_TURNS = "turns moved by one"
    OTHER_TASK = "next task's calls"


Calls = tuple[TrueCall, ...]
"""Of one turn."""

_DONE = assistant("Done.")

NO_DIFFERENCE = frozenset({"multi_turn_base_139", "multi_turn_miss_func_139"})
"""Tasks in which BFCL's rules cannot tell other calls from the right ones.

They ask to add a stock to a watch list that has it already, and then to show the list. Adding it changes nothing and
answers with the list, and what is known need not be asked again.
"""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one episode.

    Attributes:
        full_marks: whether its return was 1. calls: how many were made.
        due: whether full marks are right: what was played is, call by call and turn by turn, the ground truth.
    """

    task_id: str
    category: Category
    script: Script
    full_marks: bool
    calls: int
    due: bool

    @property
    def surprising(self) -> bool:
        """Whether it got what it should not have got, or did not get what it should."""
        if self.due:
            return not self.full_marks
        return self.full_marks and (self.script is Script.NO_OP or self.task_id not in NO_DIFFERENCE)


def script_of(tasks: Sequence[Task], index: int, script: Script) -> list[Calls]:
    """The calls to make in each turn of the task at `index`."""
    turns = [turn.calls for turn in scenario_of(tasks[index]).turns]
    if script is Script.TRUTH:
        return list(turns)
    if script is Script.NO_OP:
        return [()] * len(turns)
    if script is Script.OTHER_TURNS:
        return [*turns[1:], turns[0]]
    other = [turn.calls for turn in scenario_of(tasks[(index + 1) % len(tasks)]).turns]
    return [other[turn] if turn < len(other) else () for turn in range(len(turns))]


async def play(env: Env, task: Task, script: Sequence[Calls]) -> float | None:
    """Plays one episode: the calls of each turn in one message, then one that ends the turn. Returns its return."""
    await env.reset(task=task, seed=0)
    total: float | None = 0.0
    for turn, calls in enumerate(script):
        for message in (message_of(turn, calls), _DONE) if calls else (_DONE,):
            result = await env.step(Action(message))
            total = None if total is None or result.reward is None else total + result.reward
    return total


async def replay(category: Category, script: Script) -> AsyncGenerator[Played, None]:
    """Plays every task of a category.

    Raises:
        MissingDataError: BFCL's data are not installed.
    """
    env = make(ID, category=category.value)
    tasks = list(env.tasks(SPLIT))
    try:
        for index, task in enumerate(tasks):
            calls = script_of(tasks, index, script)
            due = calls == script_of(tasks, index, Script.TRUTH)
            total = await play(env, task, calls)
            yield Played(task.id, category, script, total == 1.0, sum(map(len, calls)), due)
    finally:
        await env.close()


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast ground truths were replayed: tool calls, and the seconds of reset, steps and scoring together.

    Attributes:
        seconds: on the clock. processor_seconds: of this process alone, whatever else the machine had to do.
    """

    calls: int
    seconds: float
    processor_seconds: float

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def per_processor_second(self) -> float:
        return self.calls / self.processor_seconds


async def replay_rate(category: Category | None = None, repeats: int = 1) -> tuple[Rate, Rate]:
    """The rates of the first replay of a process, in which ground truths are worked out, and of later ones.

    Args:
        category: what to replay; by default all of it.
        repeats: replays that the second rate is taken of.

    Raises:
        MissingDataError: BFCL's data are not installed.
    """
    env = make(ID, category=None if category is None else category.value)
    tasks = list(env.tasks(SPLIT))
    forget_scenarios()
    try:
        return await _timed(env, tasks), await _timed(env, tasks * repeats)
    finally:
        await env.close()


async def _timed(env: Env, tasks: Sequence[Task]) -> Rate:
    began, processor, calls = time.perf_counter(), time.process_time(), 0
    for task in tasks:
        script = [turn.calls for turn in scenario_of(task).turns]
        calls += sum(map(len, script))
        await play(env, task, script)
    return Rate(calls, time.perf_counter() - began, time.process_time() - processor)
