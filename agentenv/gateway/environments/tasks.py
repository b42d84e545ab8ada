"""Which task a session plays: a caller's own row, or one of the environment's by position, by id or by dice."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic

from agentenv.env import Env
from agentenv.errors import AgentenvError, BoundaryError
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.wire import REFERENCE, TaskChoice, TaskReference, TaskRow
from agentenv.messages import MalformedMessageError, Message, Wire
from agentenv.outcome import classify
from agentenv.rollout.codec import task_to_wire
from agentenv.tasks import Task, TaskSet
from agentenv.threads import THREADS

Result = TypeVar("Result")

PAGE = 1000
"""The most rows one listing holds."""

_REMEMBERED = 64
_SEARCHED = 1_000_000
_DRAWS_PER_TASK = 20


class TaskSource:
    """The tasks of one environment, as callers may see them.

    Args:
        env: an instance of its own, never played.
        answers: whether rows go out with their answers and data; without, a caller gets a reference in their place.
    """

    def __init__(self, env: Env, *, answers: bool) -> None:
        self._env = env
        self._answers = answers
        self._lock = asyncio.Lock()
        self._sets: OrderedDict[tuple[str, int | None], TaskSet] = OrderedDict()
        self._positions: dict[str, dict[str, int]] = {}

    async def choose(self, choice: TaskChoice, seed: int | None) -> tuple[Task, TaskReference | None]:
        """The row to play, and how to ask for it again where it is one of the environment's.

        Raises:
            Refusal: there is no such task, or it is no longer the one that was referred to.
        """
        if choice.row is not None:
            return _row(choice.row), None
        if choice.index is None and choice.id is not None:
            index = await self._blocking(lambda: self._position(choice.split, choice.id))
            reference = TaskReference(split=choice.split, index=index, id=choice.id)
        else:
            shuffle = choice.shuffle if choice.index is not None or choice.shuffle is not None else seed
            reference = TaskReference(split=choice.split, index=choice.index or 0, shuffle=shuffle, id=choice.id)
        task = await self._blocking(lambda: self._set(reference.split, reference.shuffle).task(reference.index))
        if reference.id not in (None, task.id):
            raise Refusal(
                Code.TASK_CHANGED,
                f"task {reference.index} of {reference.split!r} is {task.id!r} here, not {reference.id!r}: "
                "the environment is not the one this task was listed from",
            )
        return task, reference.model_copy(update={"id": task.id})

    async def page(self, split: str, shuffle: int | None, offset: int, limit: int) -> Wire:
        """The rows `offset … offset + limit`, fewer at the end of a finite set."""

        def read() -> tuple[int | None, list[Task]]:
            tasks = self._set(split, shuffle)
            end = offset + limit if tasks.size is None else min(offset + limit, tasks.size)
            return tasks.size, [tasks.task(index) for index in range(offset, end)]

        size, rows = await self._blocking(read)
        references = [
            TaskReference(split=split, index=offset + number, shuffle=shuffle, id=task.id)
            for number, task in enumerate(rows)
        ]
        tasks = [self.to_wire(task, reference) for task, reference in zip(rows, references, strict=True)]
        return {"split": split, "shuffle": shuffle, "size": size, "offset": offset, "tasks": tasks}

    async def draw(self, split: str, seed: int, count: int) -> list[tuple[Task, TaskReference]]:
        """At most `count` different tasks of a split, in an order that depends on `seed` alone."""

        def read() -> list[tuple[Task, TaskReference]]:
            tasks = self._set(split, seed)
            found: dict[str, tuple[Task, TaskReference]] = {}
            # An endless source may invent the same task twice.
            for index, task in enumerate(itertools.islice(tasks, count * _DRAWS_PER_TASK)):
                reference = TaskReference(split=split, index=index, shuffle=seed, id=task.id)
                found.setdefault(task.id, (task, reference))
                if len(found) == count:
                    break
            return list(found.values())

        return await self._blocking(read)

    def to_wire(self, task: Task, reference: TaskReference | None) -> Wire:
        """A row as callers may see it, with what to ask for to get it again."""
        row = task_to_wire(task if self._answers or reference is None else Task(task.id, task.prompt, split=task.split))
        return row | {"reference": None if reference is None else reference.model_dump()}

    def shown(self, task: Task, reference: TaskReference | None) -> Task:
        """A task as callers may see it: one of the environment's own has its reference in place of its secrets."""
        if self._answers or reference is None:
            return task
        return Task(task.id, task.prompt, None, {REFERENCE: reference.model_dump()}, task.split)

    async def _blocking(self, read: Callable[[], Result]) -> Result:
        """Reads in a thread: a source may load a file first. One at a time, because sources need not expect more."""
        async with self._lock:
            try:
                found: Result = await THREADS.run(read)
            except Refusal:
                raise
            except BoundaryError as error:
                raise Refusal.of(classify(error, f"{self._name}.tasks")) from error
            except (AgentenvError, LookupError) as error:
                raise Refusal(Code.NO_SUCH_TASK, f"{self._name}: {error}") from error
            except Exception as error:
                raise Refusal.of(classify(error, f"{self._name}.tasks")) from error
        return found

    @property
    def _name(self) -> str:
        return self._env.spec.id if self._env.spec is not None else type(self._env).__name__

    def _set(self, split: str, shuffle: int | None) -> TaskSet:
        key = (split, shuffle)
        if key not in self._sets:
            tasks = self._env.tasks(split)
            self._sets[key] = tasks if shuffle is None else tasks.shuffle(shuffle)
            if len(self._sets) > _REMEMBERED:
                self._sets.popitem(last=False)
        return self._sets[key]

    def _position(self, split: str, id: str | None) -> int:
        tasks = self._set(split, None)
        if tasks.size is None:
            problem = f"the source {split!r} is endless: a task of it is found by index, not by id alone"
            raise Refusal(Code.NO_SUCH_TASK, problem)
        if split not in self._positions:
            rows = enumerate(itertools.islice(tasks, _SEARCHED))
            self._positions[split] = {task.id: index for index, task in rows}
        if id not in self._positions[split]:
            raise Refusal(Code.NO_SUCH_TASK, f"there is no task {id!r} in the split {split!r}")
        return self._positions[split][id]


def _row(row: TaskRow) -> Task:
    try:
        prompt = tuple(Message.from_wire(message) for message in row.prompt)
    except MalformedMessageError as error:
        raise Refusal(Code.MALFORMED, f"task.row.prompt: {error}") from error
    return Task(row.id, prompt, row.answer, row.data, row.split)


def read_choice(wire: Any) -> TaskChoice:
    """What a request says under `task`. Raises `Refusal` when that makes no sense."""
    try:
        return TaskChoice.model_validate(wire if wire is not None else {})
    except pydantic.ValidationError as error:
        raise Refusal(Code.MALFORMED, explain(error, "task")) from error


def explain(error: pydantic.ValidationError, where: str = "") -> str:
    """What is wrong with a request, one clause per field."""
    return "; ".join(
        ".".join(step for step in (where, *(str(step) for step in detail["loc"])) if step) + f": {detail['msg']}"
        for detail in error.errors(include_url=False)
    )
