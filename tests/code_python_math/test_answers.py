"""Which number a reply gives, and where problems come from."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest

from agentenv.errors import ConfigError, MissingDataError
from agentenv_code.python_math.answers import answer_of
from agentenv_code.python_math.env import PythonMath
from agentenv_code.python_math.problems import KINDS


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("It is \\boxed{42}.", 42),
        ("\\boxed{ $1,234.50 }", Fraction(2469, 2)),
        ("First \\boxed{7}, and so \\boxed{7.0}", 7),
        ("In \\boxed{} I write\n#### −3", -3),
        ("\\boxed{3/4}", Fraction(3, 4)),
        ("\\boxed{1} or \\boxed{2}", None),
        ("#### 1\n#### 2", None),
        ("\\boxed{1 or 2}", None),
        ("\\boxed{nan}", None),
        ("\\boxed{1e3}", None),
        ("\\boxed{1/0}", None),
        ("\\boxed{" + "9" * 300 + "}", None),
        ("The answer is 42", None),
        ("", None),
    ],
)
def test_a_reply_gives_one_number_or_none(reply: str, number: Fraction | None) -> None:
    assert answer_of(reply) == number


@pytest.mark.parametrize("kind", KINDS)
def test_an_invented_problem_is_answered_by_its_program(kind: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(kind)
    for seed in range(5):
        problem = kind(random.Random(seed))
        exec(problem.program, {})
        assert capsys.readouterr().out == f"{problem.answer}\n"


def test_files_in_the_format_of_gsm8k_are_tasks(gsm8k_folder: Path) -> None:
    env = PythonMath(path=str(gsm8k_folder))
    sizes = [env.tasks(split).size for split in ("train", "dev", "test")]
    assert sizes == [6726, 747, 1319]
    task = env.tasks("test").task(0)
    assert (task.id, task.answer, task.split) == ("gsm8k-test-1", "18", "test")
    assert task.question.startswith("Janet’s ducks lay 16 eggs per day")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"test\.jsonl:2 is no row of GSM8K \(JSONDecodeError"),
        ('{"question": "?"}', r"test\.jsonl:2 is no row of GSM8K \(KeyError: 'answer'\)"),
        ('{"question": "?", "answer": "forty #### two"}', r'test\.jsonl:2: the answer must end in "#### NUMBER"'),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "test.jsonl").write_text(f'{{"question": "1 + 1?", "answer": "#### 2"}}\n{line}\n')
    with pytest.raises(ConfigError, match=said):
        PythonMath(path=str(tmp_path)).tasks("test")


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="openai/grade-school-math"):
        PythonMath(path=str(tmp_path)).tasks("train")
