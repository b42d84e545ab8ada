"""The tasks of an iteration depend on the configuration and the iteration alone."""

from __future__ import annotations

import random

import pytest

from agentenv.errors import ConfigError
from agentenv.learn.sources import TaskStream
from agentenv.tasks import ListTasks, Task, TaskSet


def numbered(count: int) -> ListTasks:
    return ListTasks([Task(str(index)) for index in range(count)])


class Repeating(TaskSet):
    """An endless source of few different tasks."""

    size = None

    def __init__(self, different: int) -> None:
        self._different = different

    def task(self, index: int) -> Task:
        return Task(str(random.Random(index).randrange(self._different)))


def ids(stream: TaskStream, iteration: int) -> list[str]:
    return [task.id for task in stream.of_iteration(iteration)]


def test_an_epoch_shows_every_task_once_and_the_next_one_in_another_order() -> None:
    stream = TaskStream(numbered(12), count=4, seed=0)
    epochs = [[id for iteration in range(first, first + 3) for id in ids(stream, iteration)] for first in (1, 4)]
    assert [sorted(epoch, key=int) for epoch in epochs] == [[str(index) for index in range(12)]] * 2
    assert epochs[0] != epochs[1]


def test_the_tasks_of_an_iteration_do_not_depend_on_what_was_asked_before() -> None:
    forward = TaskStream(numbered(7), count=3, seed=1)
    backward = TaskStream(numbered(7), count=3, seed=1)
    expected = [ids(forward, iteration) for iteration in range(1, 9)]
    assert [ids(backward, iteration) for iteration in range(8, 0, -1)] == expected[::-1]


def test_a_task_is_never_twice_in_one_iteration() -> None:
    stream = TaskStream(numbered(5), count=4, seed=0)
    assert all(len(set(ids(stream, iteration))) == 4 for iteration in range(1, 20))


def test_an_endless_source_that_repeats_itself_still_gives_different_tasks() -> None:
    stream = TaskStream(Repeating(12), count=6, seed=0)
    assert all(len(set(ids(stream, iteration))) == 6 for iteration in range(1, 10))


def test_another_seed_is_another_order() -> None:
    one, other = (ids(TaskStream(numbered(100), count=10, seed=seed), 1) for seed in (0, 1))
    assert one != other


def test_too_few_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs 4 different tasks, but the split has only 3"):
        TaskStream(numbered(3), count=4, seed=0)
    with pytest.raises(ConfigError, match="gave only 2"):
        TaskStream(Repeating(2), count=4, seed=0).of_iteration(1)
