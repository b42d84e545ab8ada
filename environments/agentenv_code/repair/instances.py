"""Tasks in SWE-bench's shape: a repository, a problem, a gold patch, and tests by name."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic

from agentenv.errors import ConfigError, MissingDataError
from agentenv.tasks import Task
from agentenv_code.repair.changes import Tree, unified_diff
from agentenv_code.terminal.files import files_below

_FORMAT = "an instance is a folder with instance.toml, problem.md, repository/, gold/ and tests/"


class _Header(pydantic.BaseModel, frozen=True, extra="forbid"):
    """instance.toml."""

    repo: str
    split: str = "test"
    FAIL_TO_PASS: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    PASS_TO_PASS: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """One bug.

    Attributes:
        instance_id, repo, problem_statement, fail_to_pass, pass_to_pass: as in SWE-bench. Tests are
            `module.Class.method` of unittest, whose methods have no decorators.
        snapshot: the repository with the bug. gold: the files that repair it, whole.
        tests: the test files that judge a repair, whole; they may replace tests of the repository, or be new.
    """

    instance_id: str
    repo: str
    split: str
    problem_statement: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    snapshot: Tree
    gold: Tree
    tests: Tree

    @classmethod
    def read(cls, folder: Path) -> Instance:
        """The instance in a folder.

        Raises:
            ConfigError: it breaks the format; names the file, and the key.
        """
        file = folder / "instance.toml"
        try:
            header = _Header.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
            problem = (folder / "problem.md").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{folder} cannot be read: {error}; {_FORMAT}") from error
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise ConfigError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        snapshot, gold, tests = (_tree(folder / name) for name in ("repository", "gold", "tests"))
        if not (snapshot and gold and tests):
            raise ConfigError(f"{folder} has no files in repository/, gold/ or tests/; {_FORMAT}")
        found = cls(
            folder.name,
            header.repo,
            header.split,
            problem,
            header.FAIL_TO_PASS,
            header.PASS_TO_PASS,
            snapshot,
            gold,
            tests,
        )
        missing = [name for name in found.judged if found.module_of(name) is None]
        if missing:
            raise ConfigError(f"{file}: there is no test file for {', '.join(missing)}")
        return found

    @property
    def judged(self) -> tuple[str, ...]:
        """Every test that is judged."""
        return (*self.fail_to_pass, *self.pass_to_pass)

    @property
    def base_commit(self) -> str:
        """Says which state of the repository this is: a digest of its files."""
        digest = hashlib.sha256()
        for path, data in sorted(self.snapshot.items()):
            digest.update(f"{path}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()[:40]

    @property
    def patch(self) -> str:
        """The gold patch."""
        return unified_diff(self.snapshot, {**self.snapshot, **self.gold})

    @property
    def test_patch(self) -> str:
        return unified_diff(self.snapshot, {**self.snapshot, **self.tests})

    def module_of(self, test: str) -> tuple[str, str] | None:
        """The module of a test and its source, from our tests or the repository's as it was."""
        parts = test.rsplit(".", 2)
        path = f"{parts[0].replace('.', '/')}.py"
        data = self.tests.get(path, self.snapshot.get(path))
        return (parts[0], data.decode("utf-8")) if len(parts) == 3 and data is not None else None

    def task(self) -> Task:
        """The row an episode begins with."""
        return Task.ask(
            self.instance_id, self.problem_statement, split=self.split, repo=self.repo, base_commit=self.base_commit
        )


@functools.lru_cache(maxsize=8)
def read_instances(path: Path) -> Mapping[str, Instance]:
    """Every instance in a folder, by id. They are kept: an environment is made per episode.

    Raises:
        MissingDataError: there is none.
        ConfigError: one breaks the format.
    """
    found = {file.parent.name: Instance.read(file.parent) for file in sorted(path.glob("*/instance.toml"))}
    if not found:
        raise MissingDataError(f"there are no instances in {path}; {_FORMAT}")
    return found


def _tree(folder: Path) -> Tree:
    return {path: file.read_bytes() for path, file in files_below(folder)}
