"""The benchmark's files: where they are, and what is in them. Nothing of them is kept in this package."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pydantic

from agentenv.errors import ConfigError, MissingDataError
from agentenv.tasks import ListTasks, TaskSet
from agentenv_tau2.mock import MockDatabase, MockWorld
from agentenv_tau2.retail.changes import RetailWorld
from agentenv_tau2.retail.records import Shop
from agentenv_tau2.rows import Row
from agentenv_tau2.world import World

VARIABLE = "AGENTENV_TAU2"
FILES = ("db.json", "policy.md", "split_tasks.json", "tasks.json")

_EXPECTED = (
    f"tau2-bench is a folder with one folder a domain (retail, mock), each with {', '.join(FILES)}. Get them from "
    "data/tau2/domains in https://github.com/sierra-research/tau2-bench and pass data=FOLDER, or set the environment "
    f"variable {VARIABLE}."
)


class Domain(StrEnum):
    """The worlds there are."""

    RETAIL = "retail"
    MOCK = "mock"


@dataclass(frozen=True, slots=True)
class DomainData:
    """A domain as its files have it.

    Attributes:
        policy: the rules for the agent. rows: all tasks, by id. splits: ids of tasks by the name of the split.
        new_world: a world as the database has it, for one episode.
    """

    domain: Domain
    policy: str
    rows: Mapping[str, Row]
    splits: Mapping[str, tuple[str, ...]]
    new_world: Callable[[], World]

    def tasks(self, split: str) -> TaskSet:
        """The tasks of a split; `train` is `base` where the file has none.

        Raises:
            ConfigError: there is no such split.
        """
        ids = self.splits.get(split)
        if ids is None and split == "train":
            ids = self.splits.get("base")
        if ids is None:
            raise ConfigError(f"tau2 {self.domain} has the splits {', '.join(self.splits)}, not {split!r}")
        return ListTasks([self.rows[id].task(self.domain, split) for id in ids])


def load_domain(domain: Domain, data: str | os.PathLike[str] | None = None) -> DomainData:
    """The files of a domain. They are read once, and again when one of them has changed.

    Args:
        data: the folder with the domains' folders; by default what the environment variable `AGENTENV_TAU2` says.

    Raises:
        MissingDataError: a file is not there; says what is expected and where to get it.
        ConfigError: a file holds something else, or a task asks for what this package does not know.
    """
    given = data if data is not None else os.environ.get(VARIABLE)
    if not given:
        raise MissingDataError(f"No path to tau2-bench. {_EXPECTED}")
    folder = Path(given).expanduser() / domain.value
    try:
        changed = tuple((folder / name).stat().st_mtime_ns for name in FILES)
    except OSError as error:
        raise MissingDataError(f"There is no {error.filename}. {_EXPECTED}") from error
    return _load(domain, folder, changed)


@functools.lru_cache(maxsize=8)
def _load(domain: Domain, folder: Path, changed: tuple[int, ...]) -> DomainData:
    text = (folder / "db.json").read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    new_world = _parsed(folder / "db.json", lambda: _worlds(domain, text, digest))
    rows = _parsed(folder / "tasks.json", lambda: _rows(folder / "tasks.json"))
    splits = _parsed(folder / "split_tasks.json", lambda: _splits(folder / "split_tasks.json"))
    for split, ids in splits.items():
        if unknown := [id for id in ids if id not in rows]:
            raise ConfigError(f"{folder / 'split_tasks.json'}: {split} names {unknown[0]!r}, which is no task")
    for row in rows.values():
        world = new_world()
        world.check(row)
        try:
            world.prepare(row.initial_state)
        except ConfigError as problem:
            raise ConfigError(f"{folder / 'tasks.json'}: task {row.id}: {problem}") from problem
    policy = (folder / "policy.md").read_text(encoding="utf-8").strip()
    return DomainData(domain, policy, rows, splits, new_world)


def _worlds(domain: Domain, text: str, digest: str) -> Callable[[], World]:
    if domain is Domain.RETAIL:
        return functools.partial(RetailWorld, Shop.read(text, digest))
    return functools.partial(MockWorld, MockDatabase.read(text, digest))


def _rows(file: Path) -> dict[str, Row]:
    rows = [Row.model_validate(raw) for raw in json.loads(file.read_text(encoding="utf-8"))]
    return {row.id: row for row in rows}


def _splits(file: Path) -> dict[str, tuple[str, ...]]:
    return {name: tuple(ids) for name, ids in json.loads(file.read_text(encoding="utf-8")).items()}


def _parsed(file: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except pydantic.ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{file}: {problem.title}: {where}: {first['msg']}") from problem
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ConfigError(f"{file} is not what tau2-bench has there: {type(problem).__name__}: {problem}") from problem
