"""Mathematical environments: which answers are found, what they are worth, and what a hostile one does."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action
from agentenv.errors import ConfigError, MissingDataError, VerifierError
from agentenv.messages import assistant
from agentenv.tasks import Task
from agentenv_math import grader
from agentenv_math.answers import MAX_CLAIMS, MAX_LENGTH, extract, parse_number
from agentenv_math.arithmetic import DIFFICULTIES, Arithmetic
from agentenv_math.grader import grade
from agentenv_math.gsm8k import DEV_EVERY, Gsm8k, load_gsm8k
from tests.environments.playing import play, play_oracle

EVERY_NUMBER = [str(number) for number in range(101)]


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"\boxed{18}", "18"),
        (r"So $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{17}? No, \boxed{18}.", "18"),
        (r"\boxed{x = 18}", "18"),
        (r"\fbox{18}", "18"),
        (r"\boxed{\boxed{18}}", "18"),
        ("9 * 2 = 18\n#### 18", "18"),
        ("#### $1,800.50", "1,800.50"),
        ("The answer is 18.", "18"),
        ("The final **Answer:** $18$ eggs", "18"),
        ("answer is: 18", "18"),
        ("the answer is $\\frac{7}{3}$.", r"\frac{7}{3}"),
        ("18", "18"),
        ("  -3.5\n", "-3.5"),
        ("3 eggs are eaten and 4 baked.\nShe sells 16 - 3 - 4 = 9 eggs", "9"),
        ("Two steps.\nAltogether that makes 18 dollars.", "18"),
        (r"\boxed{18} is right, and the answer is 5", "18"),
        ("#### 18\nThe answer is 5", "18"),
    ],
)
def test_the_answer_is_found(reply: str, answer: str) -> None:
    assert extract(reply) == answer


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n ",
        "I do not know.",
        "17 or 18",
        "17\n18",
        "1, 2, 3",
        "She has 16 eggs, eats 3 and sells 9",
        "How many of the 18 eggs are left?",
        "a = b = 17, 18",
        r"\boxed{}",
        r"\boxed{18",
        r"\boxed{" + "1" * (MAX_LENGTH + 1) + "}",
        "####",
        "1e5",
        "1.2.3",
        "١٨",
    ],
)
def test_no_answer_is_found(reply: str) -> None:
    assert extract(reply) is None


@pytest.mark.parametrize(
    "listing",
    [
        " ".join,
        ", ".join,
        "\n".join,
        " or ".join,
        lambda numbers: "The answer is " + ", ".join(numbers),
        lambda numbers: "The answer is one of " + " ".join(numbers),
        lambda numbers: " ".join(f"The answer is {number}." for number in numbers),
        lambda numbers: "\n".join(f"The answer is {number}" for number in numbers),
        lambda numbers: "".join(f"\\boxed{{{number}}}" for number in numbers),
        lambda numbers: "\\boxed{" + ", ".join(numbers) + "}",
        lambda numbers: "\\boxed{\\{" + ", ".join(numbers[-20:]) + "\\}}",
        lambda numbers: "\\boxed{" + " \\text{ or } ".join(numbers[-9:]) + "}",
        lambda numbers: "\n".join(f"#### {number}" for number in numbers),
        lambda numbers: "#### " + " ".join(numbers),
        lambda numbers: "\\boxed{[0, 100]}",
        lambda numbers: "\\boxed{x > 0}",
        lambda numbers: "\\boxed{0 = 100}",
        lambda numbers: "\\boxed{50 \\pm 50}",
    ],
)
@pytest.mark.parametrize("gold", ["0", "37", "100"])
async def test_naming_every_number_is_no_answer(listing, gold: str) -> None:  # type: ignore[no-untyped-def]
    assert not (await grade(listing(EVERY_NUMBER), gold)).correct


def test_a_reply_may_change_its_mind_a_few_times() -> None:
    boxes = [f"\\boxed{{{number}}}" for number in range(MAX_CLAIMS + 1)]
    assert extract(" ".join(boxes[:MAX_CLAIMS])) == str(MAX_CLAIMS - 1)
    assert extract(" ".join(boxes)) is None
    assert extract(" ".join([boxes[0]] * 50)) == "0"


@given(st.fractions())
def test_a_literal_is_read_exactly(value: Fraction) -> None:
    assert parse_number(str(value)) == value
    assert parse_number(f"\\frac{{{value.numerator}}}{{{value.denominator}}}") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234.50", Fraction(2469, 2)), ("−3", Fraction(-3)), (".5", Fraction(1, 2)), ("$18$", Fraction(18))]
    + [(text, None) for text in ("", "-", ".", "1/0", "2+2", "1,23", "1 2", "0x10", "nan", "inf", "1_0", "½")],
)
def test_literals_and_what_is_none(text: str, value: Fraction | None) -> None:
    assert parse_number(text) == value


@given(st.text(alphabet="0123456789.,-/$\\boxed{}# answeri\n", max_size=300))
@settings(max_examples=300)
def test_any_text_can_be_searched(reply: str) -> None:
    answer = extract(reply)
    assert answer is None or 0 < len(answer) <= MAX_LENGTH


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("18.0", "18", True),
        ("1,800", "1800", True),
        ("0.5", "1/2", True),
        (r"\frac{36}{2}", "18", True),
        (r"3\sqrt{36}", "18", True),
        (r"18 \text{ eggs}", "18", True),
        (r"\$18", "18", True),
        ("9 9", "18", False),
        ("18x", "18", False),
        (r"\text{eighteen}", "18", False),
        ("19", "18", False),
        (r"\frac{1}{0}", "18", False),
        ("}{", "18", False),
    ],
)
async def test_answers_are_compared_by_meaning(answer: str, gold: str, equal: bool) -> None:
    assert (await grade(f"\\boxed{{{answer}}}", gold)).correct is equal


HOSTILE = {
    "tower": r"\boxed{10^{10^{10}}}",
    "factorials": r"\boxed{((9!)!)!}",
    "brackets": r"\boxed{" + "(" * 95 + "1+1" + ")" * 95 + "}",
    "nested fractions": r"\boxed{" + r"\frac{1}{1+" * 15 + "1" + "}" * 15 + "}",
    "long": r"\boxed{" + "9" * 100_000 + "}",
    "100 kB of boxes": r"\boxed{" * 14_000,
    "100 kB of digits": "1" * 100_000,
    "100 kB of markers": "answer is " * 10_000,
    "100 kB of words and numbers": "a1 " * 33_000,
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_reply_is_wrong_and_no_failure(reply: str) -> None:
    assert not (await grade(reply, "18", timeout=1.0)).correct


async def test_an_answer_that_hangs_the_grader_is_wrong_and_counted() -> None:
    task = Task.ask("t", "18?", answer="18")
    env = Gsm8k()
    env.grading_seconds = 1.0
    played = await play(env, [HOSTILE["tower"]], task)
    assert played.total == 0.0
    assert played.last.info["metrics"]["grader_killed"] == 1
    played = await play(Gsm8k(), [r"\boxed{3\sqrt{36}}"], task)
    assert played.total == 1.0
    assert played.last.info["metrics"]["grader_killed"] == 0


async def test_a_grader_that_does_not_work_at_all_is_a_verifier_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grader, "_EQUIVALENT", "tests.isolated_functions:refuse_two")
    with pytest.raises(VerifierError, match="cannot compare the answer '18' with itself"):
        await grade(r"\boxed{3\sqrt{36}}", "18")


@settings(max_examples=60, deadline=None)
@given(difficulty=st.sampled_from(sorted(DIFFICULTIES)), seed=st.integers(0, 2**31))
async def test_the_arithmetic_oracle_earns_full_marks_and_silence_nothing(difficulty: int, seed: int) -> None:
    env = agentenv.make("math/arithmetic-v0", difficulty=difficulty)
    played = await play_oracle(env, seed=seed)
    assert (played.total, played.last.terminated, played.last.truncated) == (1.0, True, False)
    assert (await play(env, [""], seed=seed)).total == 0.0


@given(difficulty=st.sampled_from(sorted(DIFFICULTIES)), index=st.integers(0, 10_000))
def test_the_answer_to_an_expression_is_its_value(difficulty: int, index: int) -> None:
    task = Arithmetic(difficulty=difficulty).tasks().task(index)
    expression = task.question.removeprefix("What is ").removesuffix("?")
    exact = "".join(f"Fraction({part})" if part.isdigit() else part for part in _pieces(expression))
    assert Fraction(eval(exact)) == Fraction(task.answer)
    assert task.data["difficulty"] == difficulty


@settings(max_examples=40, deadline=None)
@given(difficulty=st.sampled_from(sorted(DIFFICULTIES)), index=st.integers(0, 10_000))
async def test_repeating_the_question_is_no_answer(difficulty: int, index: int) -> None:
    env = Arithmetic(difficulty=difficulty)
    task = env.tasks().task(index)
    expression = task.question.removeprefix("What is ").removesuffix("?")
    for echo in (task.question, expression, f"\\boxed{{{expression}}}", f"The answer is {expression}"):
        assert (await play(env, [echo], task)).total == 0.0


def test_arithmetic_splits_are_disjoint_and_every_difficulty_is_drawn() -> None:
    env = Arithmetic(difficulty=(1, 5))
    seen = {split: {task.question for task in env.tasks(split).head(400)} for split in ("train", "dev", "test")}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]
    assert {task.data["difficulty"] for task in env.tasks().head(100)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("difficulty", [0, 6, (3, 1)])
def test_a_difficulty_that_makes_no_sense_is_refused(difficulty: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="difficulty"):
        Arithmetic(difficulty=difficulty)


WORD_PROBLEM = Task.ask("t", "Nine eggs at 2 dollars?", answer="18")


async def test_each_wrong_attempt_is_told_and_halves_the_reward() -> None:
    env = agentenv.make("math/gsm8k-retry-v0")
    played = await play(env, ["#### 17", "I give up.", "#### 18"], WORD_PROBLEM)
    said = [step.observation.messages[0].text for step in played.steps[:2]]
    assert said == [
        "That is not the right answer. You have 2 more attempts.",
        "That is not the right answer. You have one more attempt.",
    ]
    assert [step.terminated for step in played.steps] == [False, False, True]
    assert played.total == 0.25
    assert played.last.info["metrics"]["attempts"] == 3


@pytest.mark.parametrize(("wrong", "earned"), [(0, 1.0), (1, 0.5), (2, 0.25), (3, 0.0)])
async def test_attempts_run_out(wrong: int, earned: float) -> None:
    env = agentenv.make("math/gsm8k-retry-v0")
    played = await play(env, ["#### 17"] * wrong + ["#### 18"] * 9, WORD_PROBLEM)
    assert played.total == earned
    assert played.last.terminated
    assert len(played.steps) == min(wrong + 1, 3)


async def test_attempts_and_decay_can_be_set() -> None:
    env = agentenv.make("math/gsm8k-retry-v0", attempts=5, decay=0.9)
    assert (await play(env, ["#### 17"] * 4 + ["#### 18"], WORD_PROBLEM)).total == pytest.approx(0.9**4)


async def test_the_attempts_of_one_episode_do_not_count_in_the_next() -> None:
    env = agentenv.make("math/gsm8k-retry-v0")
    await play(env, ["#### 17"], WORD_PROBLEM)
    assert (await play(env, ["#### 18"], WORD_PROBLEM)).total == 1.0


async def test_wrong_answers_are_part_of_the_state() -> None:
    env = agentenv.make("math/gsm8k-retry-v0")
    await env.reset(task=WORD_PROBLEM)
    before = env.state_key()
    await env.step(Action(assistant("#### 17")))
    assert env.state_key() != before


@pytest.mark.parametrize("options", [{"attempts": 0}, {"attempts": 11}, {"decay": -0.1}, {"decay": 1.5}])
def test_attempts_or_a_decay_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must lie between"):
        Gsm8k(**options)  # type: ignore[arg-type]


def _write(folder: Path, name: str, count: int) -> Path:
    rows = [{"question": f"{name} {index}?", "answer": f"So it is.\n#### {index},000"} for index in range(count)]
    file = folder / f"{name}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return file


def test_a_folder_gives_three_splits_without_overlap(tmp_path: Path) -> None:
    _write(tmp_path, "train", 25)
    _write(tmp_path, "test", 4)
    train, dev, test = (list(load_gsm8k(tmp_path, split)) for split in ("train", "dev", "test"))
    assert (len(train), len(dev), len(test)) == (23, 2, 4)
    assert [task.question for task in dev] == [f"train {DEV_EVERY - 1}?", f"train {2 * DEV_EVERY - 1}?"]
    assert len({task.id for task in train + dev + test}) == 29
    assert (train[1].answer, train[1].split, dev[0].split, test[0].split) == ("1000", "train", "dev", "test")


def test_a_single_file_serves_the_split_it_is_named_for(tmp_path: Path) -> None:
    assert load_gsm8k(_write(tmp_path, "mine", 20), "dev").size == 2
    assert load_gsm8k(_write(tmp_path, "test", 4), "test").size == 4
    for name, split in (("mine", "test"), ("test", "train")):
        with pytest.raises(MissingDataError, match="has no"):
            load_gsm8k(tmp_path / f"{name}.jsonl", split)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = _write(tmp_path, "test", 4)
    assert load_gsm8k(file, "test").size == 4
    _write(tmp_path, "test", 5)
    os.utime(file, ns=(1, 1))
    assert load_gsm8k(file, "test").size == 5


def test_missing_data_says_what_is_expected_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTENV_GSM8K", raising=False)
    with pytest.raises(MissingDataError, match=r"No path.*train.jsonl.*grade-school-math.*AGENTENV_GSM8K"):
        Gsm8k().tasks()
    with pytest.raises(MissingDataError, match=r"There is no .*train.jsonl.*grade-school-math"):
        Gsm8k(path=str(tmp_path)).tasks()
    _write(tmp_path, "train", 3)
    monkeypatch.setenv("AGENTENV_GSM8K", str(tmp_path))
    assert Gsm8k().tasks().size == 3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "train.jsonl:2 is not JSON"),
        ("[]", "train.jsonl:2 needs the texts"),
        ('{"question": "q"}', "train.jsonl:2 needs the texts"),
        ('{"question": "q", "answer": "18"}', "train.jsonl:2: the answer must end in"),
        ('{"question": "q", "answer": "#### many"}', "train.jsonl:2: the answer must end in"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"question": "q", "answer": "#### 1"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=complaint):
        load_gsm8k(tmp_path)


GSM8K = Path(__file__).parents[2] / ".." / "shared" / "data" / "gsm8k"


@pytest.fixture(scope="module")
def gsm8k() -> Path:
    """The real data beside the repository; without it the tests are skipped, but not in CI."""
    if not GSM8K.is_dir():
        message = "GSM8K is not beside the repository (../shared/data/gsm8k); tests on the real data did not run"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return GSM8K


async def test_every_gsm8k_test_problem_is_won_by_its_oracle_and_its_own_solution(gsm8k: Path) -> None:
    env = Gsm8k(path=str(gsm8k))
    tasks = list(env.tasks("test"))
    solutions = [json.loads(line)["answer"] for line in (gsm8k / "test.jsonl").read_text().splitlines()]
    assert len(tasks) == len(solutions) == 1319
    for task, solution in zip(tasks, solutions, strict=True):
        assert (await play_oracle(env, task)).total == 1.0
        assert (await play(env, [solution], task)).total == 1.0


async def test_no_gsm8k_test_problem_is_won_by_silence_or_an_echo(gsm8k: Path) -> None:
    env = Gsm8k(path=str(gsm8k))
    for reply in ("", "prompt", "list"):
        for task in env.tasks("test"):
            said = {"": "", "prompt": task.question, "list": " ".join(EVERY_NUMBER)}[reply]
            assert (await play(env, [said], task)).total == 0.0


def test_the_training_rows_of_gsm8k_all_parse(gsm8k: Path) -> None:
    train, dev = load_gsm8k(gsm8k, "train"), load_gsm8k(gsm8k, "dev")
    assert (train.size, dev.size) == (6726, 747)
    assert all(parse_number(task.answer) is not None for task in train)


def _pieces(expression: str) -> list[str]:
    return expression.replace("(", "( ").replace(")", " )").split()
