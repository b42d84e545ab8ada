"""`math/gsm8k-v0` and `math/gsm8k-retry-v0`: grade-school word problems from files in GSM8K's format."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

from agentenv.errors import ConfigError, MissingDataError
from agentenv.tasks import ListTasks, Task, TaskSet
from agentenv_math.answers import parse_number
from agentenv_math.env import MathEnv

SYSTEM_PROMPT = "Solve the problem step by step. End your reply with the answer alone in \\boxed{}."
VARIABLE = "AGENTENV_GSM8K"
DEV_EVERY = 10
"""Every tenth row of the training file is the dev split; GSM8K itself has none."""

_EXPECTED = (
    'GSM8K is a folder with train.jsonl and test.jsonl, one JSON object a line: {"question": "…", "answer": "… #### '
    '42"}. Get both files from grade_school_math/data in https://github.com/openai/grade-school-math and pass '
    f"path=FOLDER (or one .jsonl file), or set the environment variable {VARIABLE}."
)


class Gsm8k(MathEnv):
    """Word problems whose answer is a number.

    Splits: `test` is test.jsonl; `dev` is every tenth row of train.jsonl and `train` the rest of it. A single file
    named test.jsonl serves `test`, any other single file `train` and `dev`.

    Args:
        path: a folder with train.jsonl and test.jsonl, or one .jsonl file; by default what `AGENTENV_GSM8K` says.
        attempts: how often the policy may answer; it is told when it is wrong.
        decay: what each wrong attempt multiplies the reward with.
        system_prompt: sent first when it is not empty.
    """

    def __init__(
        self,
        path: str | None = None,
        attempts: int = 1,
        decay: float = 0.5,
        system_prompt: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__(system_prompt=system_prompt, attempts=attempts, decay=decay)
        self._path = path

    def tasks(self, split: str = "train") -> TaskSet:
        return load_gsm8k(self._path, split)


def load_gsm8k(path: str | os.PathLike[str] | None = None, split: str = "train") -> TaskSet:
    """The tasks of a split; see `Gsm8k` for what a path and a split can be.

    Raises:
        MissingDataError: there is no such file; says what is expected and where to get it.
        ConfigError: an unknown split, or a malformed line, named by its number.
    """
    if split not in ("train", "dev", "test"):
        raise ConfigError(f"GSM8K has the splits train, dev and test, not {split!r}")
    given = path if path is not None else os.environ.get(VARIABLE)
    if not given:
        raise MissingDataError(f"No path to GSM8K. {_EXPECTED}")
    file = _file_of(Path(given).expanduser(), split)
    if not file.is_file():
        raise MissingDataError(f"There is no {file}. {_EXPECTED}")
    rows = _read(file, file.stat().st_mtime_ns)
    if split == "test":
        return ListTasks([_in_split(row, "test") for row in rows])
    in_dev = split == "dev"
    kept = [row for index, row in enumerate(rows) if (index % DEV_EVERY == DEV_EVERY - 1) == in_dev]
    return ListTasks([_in_split(row, split) for row in kept])


def _file_of(path: Path, split: str) -> Path:
    source = "test" if split == "test" else "train"
    if path.suffix != ".jsonl":
        return path / f"{source}.jsonl"
    if (path.stem == "test") != (source == "test"):
        raise MissingDataError(f"{path} alone has no {split!r} split. {_EXPECTED}")
    return path


@functools.lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> tuple[Task, ...]:
    """Every row of a file. An environment is made per episode, so the rows are kept until the file changes."""
    lines = enumerate(file.read_text(encoding="utf-8").split("\n"), start=1)
    return tuple(_row(line, f"{file.stem}-{number}", f"{file}:{number}") for number, line in lines if line.strip())


def _row(line: str, id: str, where: str) -> Task:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("question", "answer")):
        raise ConfigError(f'{where} needs the texts "question" and "answer"; it has {str(row)[:80]}')
    _, mark, answer = row["answer"].rpartition("####")
    answer = answer.strip().replace(",", "")
    if not mark or parse_number(answer) is None:
        raise ConfigError(f'{where}: the answer must end in "#### NUMBER", but ends in {row["answer"][-40:]!r}')
    return Task.ask(f"gsm8k-{id}", row["question"].strip(), answer=answer)


def _in_split(task: Task, split: str) -> Task:
    return Task(task.id, task.prompt, task.answer, task.data, split)
