"""Which tasks there are, and which seeds belong to which split."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.errors import ConfigError, MissingDataError
from agentenv.tasks import Task
from agentenv_gui.miniwob import source
from agentenv_gui.miniwob.env import MiniWoB
from agentenv_gui.miniwob.scripts import RELOADED
from agentenv_gui.miniwob.survey import LEAST, UNSOLVED
from agentenv_gui.miniwob.tasks import SEEDS, Assignment, Assignments

NAMES = ("click-test", "use-slider", "drag-box")


def test_all_pages_of_the_package_are_tasks_but_those_that_need_a_server() -> None:
    assert len(source.names()) == 130
    assert source.address("click-test").startswith("file:///")
    with pytest.raises(ConfigError, match="from a web server"):
        source.chosen("flight.AA")


def test_tasks_are_named_one_by_one_with_commas_or_not_at_all() -> None:
    assert source.chosen("click-test") == ("click-test",)
    assert source.chosen("click-test, use-slider") == source.chosen(["click-test", "use-slider"])
    assert source.chosen(None) == source.names()


@pytest.mark.parametrize(
    ("tasks", "problem"), [("click-tset", "Did you mean 'click-test'"), ("", "no task"), ([], "no task")]
)
def test_a_task_that_is_none_is_refused(tasks: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        source.chosen(tasks)


def test_without_the_package_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match="pip install --no-deps 'miniwob=="):
        source.folder.__wrapped__()


def test_the_lists_name_tasks_that_there_are() -> None:
    assert {*RELOADED, *UNSOLVED, *LEAST} <= set(source.names())


@given(st.sampled_from(["test", "dev", "train"]), st.integers(0, 10_000))
def test_a_task_belongs_to_one_split_and_comes_back_from_its_row(split: str, index: int) -> None:
    tasks = Assignments(NAMES, split)
    if tasks.size is not None:
        index %= tasks.size
    row = tasks.task(index)
    assignment = Assignment.of(Task.from_json(row.to_json()))
    assert [name for name, seeds in SEEDS.items() if assignment.seed in seeds] == [split] == [row.split]
    assert assignment.name == NAMES[index % len(NAMES)]


def test_no_task_comes_twice() -> None:
    rows = [row.id for row in Assignments(NAMES, "dev")]
    assert len(rows) == len(set(rows)) == 3_000


def test_a_row_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of MiniWoB"):
        Assignment.of(Task.ask("t", "What?"))
    with pytest.raises(ConfigError, match="splits"):
        Assignments(NAMES, "validation")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tasks": "click-tset"}, "Did you mean 'click-test'"),
        ({"reward": "sparse"}, "page, raw, success"),
        ({"data_mode": "validation"}, "train or test"),
        ({"pace": {"speed": 1}}, "pace has no 'speed'"),
        ({"pace": {"action": -1}}, "seconds"),
        ({"see": {"smell": True}}, "nothing called 'smell'"),
        ({"see": {"tree": "yes"}}, "see: tree"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        MiniWoB(**options)
