from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import ConfigError
from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet


def sums(rng: random.Random) -> Task:
    left, right = rng.randint(0, 99), rng.randint(0, 99)
    return Task.ask("", f"{left} + {right}?", answer=left + right)


def ids(tasks: TaskSet) -> list[str]:
    return [task.id for task in tasks]


@given(st.text(), st.text(), st.integers() | st.text() | st.none(), st.dictionaries(st.text(), st.integers()))
def test_a_task_survives_json(id: str, question: str, answer: object, data: dict[str, int]) -> None:
    task = Task(id, Task.ask(id, question).prompt, answer, data, "test")
    assert Task.from_json(task.to_json()) == task


@given(st.integers(0, 40), st.integers(0, 1000))
def test_shuffling_a_finite_source_loses_and_repeats_nothing(size: int, seed: int) -> None:
    tasks = ListTasks([Task.ask(str(index), "?") for index in range(size)])
    assert sorted(ids(tasks.shuffle(seed))) == sorted(ids(tasks))


def test_shuffling_an_endless_source_is_a_permutation_of_each_block() -> None:
    endless = ProceduralTasks(sums)
    plain = ids(endless.head(2048))
    mixed = ids(endless.shuffle(5).head(2048))
    assert mixed != plain
    assert sorted(mixed[:1024]) == sorted(plain[:1024])
    assert sorted(mixed[1024:]) == sorted(plain[1024:])


def test_the_same_index_always_gives_the_same_task() -> None:
    assert ProceduralTasks(sums).task(7) == ProceduralTasks(sums).task(7)
    assert ids(ProceduralTasks(sums, seed=1).head(20)) != ids(ProceduralTasks(sums, seed=2).head(20))


def test_splits_of_a_procedural_source_share_no_content() -> None:
    questions = {
        split: {task.question for task in ProceduralTasks(sums, split=split).head(500)}
        for split in ("train", "dev", "test")
    }
    for one, other in itertools.combinations(questions.values(), 2):
        assert not one & other


def test_head_and_skip_together_are_the_whole() -> None:
    tasks = ListTasks([Task.ask(str(index), "?") for index in range(7)])
    assert ids(tasks.head(3)) + ids(tasks.skip(3)) == ids(tasks)
    assert ids(tasks.head(99)) == ids(tasks)
    assert ids(tasks.skip(99)) == []


def test_an_index_outside_a_finite_view_is_an_error() -> None:
    with pytest.raises(IndexError):
        ProceduralTasks(sums).head(3).task(3)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ConfigError, match="'valid'"):
        ProceduralTasks(sums, split="valid")


def test_a_source_too_small_for_a_split_says_so_instead_of_looping() -> None:
    always_the_same = {split: ProceduralTasks(lambda _: Task.ask("", "1?"), split=split) for split in ("train", "test")}
    assert always_the_same["train"].task(0).question == "1?"
    with pytest.raises(ConfigError, match="too few distinct tasks"):
        always_the_same["test"].task(0)
