"""Coding tasks from files: one JSON object a line."""

from __future__ import annotations

import functools
from pathlib import Path

import pydantic

from agentenv.errors import ConfigError, MissingDataError
from agentenv.messages import user
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv_code.grading.cases import FunctionCase, FunctionTests, ProgramCase, ProgramTests, Tests
from agentenv_code.grading.comparison import show


class Row(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One line of a file.

    Attributes:
        question: what is asked; the public tests are shown after it.
        solution: a program that passes, for the oracle.
        split: the line belongs to.

    Example:
        {"id": "double", "question": "Write `double(x)`: twice x.", "solution": "def double(x):\\n    return 2 * x\\n",
         "tests": {"kind": "function", "name": "double", "public": [{"args": [1], "returns": 2}],
                   "hidden": [{"args": [-3], "returns": -6}]}}
    """

    id: str
    question: str
    solution: str
    tests: Tests
    split: str = "train"

    def task(self) -> Task:
        prompt = "\n\n".join([self.question, *_examples(self.tests)])
        return Task(self.id, (user(prompt),), self.solution, {"tests": self.tests.model_dump(mode="json")}, self.split)


def read_tasks(path: Path, split: str) -> TaskSet:
    """The tasks of one split of a file.

    Raises:
        MissingDataError: there is no such file.
        ConfigError: a line is malformed, named by its number; or no line belongs to that split.
    """
    if not path.is_file():
        raise MissingDataError(f"There is no {path}. tasks_path is a file with one JSON object a line:\n{_form()}")
    rows = _read(path, path.stat().st_mtime_ns)
    found = [task for task in rows if task.split == split]
    if not found:
        splits = ", ".join(sorted({task.split for task in rows})) or "no task at all"
        raise ConfigError(f"{path} has no tasks in the split {split!r}; it has {splits}")
    return ListTasks(found)


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> tuple[Task, ...]:
    """Every line of a file. An environment is made per episode, so they are kept until the file changes."""
    lines = enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
    return tuple(_row(line, f"{path}:{number}").task() for number, line in lines if line.strip())


def _row(line: str, where: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise ConfigError(f"{where}: {problem}. A line looks like\n{_form()}") from error


def _form() -> str:
    return (Row.__doc__ or "").partition("Example:\n")[2].rstrip()


def _examples(tests: Tests) -> list[str]:
    """The public tests in words."""
    if isinstance(tests, FunctionTests):
        lines = [f"`{case.call(tests.name)}` {expectation(case)}." for case in tests.public]
        return ["\n".join(["For example:", *lines])] if lines else []
    return [_run(case) for case in tests.public] if isinstance(tests, ProgramTests) else []


def expectation(case: FunctionCase) -> str:
    """What a call must lead to, in words.

    >>> expectation(FunctionCase(args=([2, 1],), leaves=([1, 2],)))
    'returns `None` and leaves its arguments as `[1, 2]`'
    """
    if case.raises is not None:
        return f"raises `{case.raises}`"
    left = "" if case.leaves is None else f" and leaves its arguments as `{', '.join(map(show, case.leaves))}`"
    return f"returns `{show(case.returns)}`{left}"


def _run(case: ProgramCase) -> str:
    return f"For the input\n```\n{case.stdin.rstrip()}\n```\nthe output is\n```\n{case.stdout.rstrip()}\n```"
