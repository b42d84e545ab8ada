"""Episodes: a program in one attempt or several, what the policy is told, and what it is paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentenv.env import Action, Env
from agentenv.errors import ConfigError, MissingDataError, RegistryError
from agentenv.messages import assistant
from agentenv.rewards import Reward
from agentenv.tasks import Task
from agentenv_code.synthesis.one_liners import Recipe
from agentenv_code.synthesis.replies import MAX_LENGTH, fenced, find_program
from tests.code.conftest import Environments
from tests.environments.playing import play, play_oracle

DOUBLE = {
    "id": "double",
    "question": "Write `double(x)`: twice x.",
    "solution": "def double(x):\n    return 2 * x\n",
    "tests": {
        "kind": "function",
        "name": "double",
        "public": [{"args": [1], "returns": 2}, {"args": [5], "returns": 10}],
        "hidden": [{"args": [-31337], "returns": -62674}, {"args": ["hid"], "returns": "hidhid"}],
    },
}


@pytest.fixture
def tasks_path(tmp_path: Path) -> str:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(DOUBLE) + "\n")
    return str(path)


@pytest.mark.parametrize("name", ["functions", "programs"])
@pytest.mark.parametrize("split", ["train", "test"])
async def test_every_task_of_ours_pays_its_solution(environments: Environments, name: str, split: str) -> None:
    env = environments(name)
    for task in env.tasks(split):
        played = await play_oracle(env, task)
        assert (task.id, played.total) == (task.id, 1.0)
        assert played.last.info["metrics"]["tampering"] == 0
        assert Task.from_json(task.to_json()) == task
    await env.close()


async def test_the_question_shows_the_public_tests_and_no_hidden_one(
    environments: Environments, tasks_path: str
) -> None:
    played = await play(environments("functions", tasks_path=tasks_path), [])
    text = played.opening[-1].text
    assert "`double(1)` returns `2`." in text
    assert "31337" not in text


async def test_an_attempt_that_fails_is_told_why_and_may_be_bettered(
    environments: Environments, tasks_path: str
) -> None:
    env = environments("functions-retry", tasks_path=tasks_path, attempts=3, decay=0.5)
    first = fenced(
        "import sys\ndef double(x):\n    print('seen', x)\n    print('oops', file=sys.stderr)\n    return x + 1"
    )
    played = await play(
        env, [first, "I have no idea, but here is a list: ```text\n1\n```", fenced(str(DOUBLE["solution"]))]
    )
    report = played.steps[0].observation.messages[0].text
    assert report.splitlines() == [
        "1 of 2 public tests passed. `double(5)` returns `10`, but yours returned `6`.",
        "Standard output:",
        "seen 1",
        "seen 5",
        "Standard error:",
        "oops",
        "oops",
        "Exit code: 0",
        "You have 2 more attempts.",
    ]
    assert played.steps[1].observation.messages[0].text.startswith("There is no program in your answer.")
    assert (played.last.terminated, played.total, played.last.info["metrics"]["attempts"]) == (True, 0.25, 3)
    await env.close()


@pytest.mark.parametrize(
    "leak",
    [
        "def double(x):\n    import sys\n    print(x, file=sys.stderr)\n    print(x)\n    return 0",
        "import gc, sys\nsys.stderr.write(repr([o for o in gc.get_objects() if isinstance(o, (list, dict))]))\n"
        "def double(x):\n    return 0",
        "def double(x):\n    if x in (1, 5): return 2 * x\n    raise ValueError(x)",
    ],
)
async def test_nothing_of_the_hidden_tests_is_ever_told(environments: Environments, tasks_path: str, leak: str) -> None:
    env = environments("functions-retry", tasks_path=tasks_path, attempts=2)
    played = await play(env, [fenced(leak), fenced(leak)])
    told = [message.text for step in played.steps for message in step.observation.messages]
    assert not any(secret in text for text in told for secret in ("31337", "62674", "hid"))
    assert (played.ended, played.total) == (True, 0.0)
    await env.close()


async def test_a_failing_run_of_a_program_is_shown_with_how_it_ended(environments: Environments) -> None:
    env = environments("programs-retry")
    task = next(task for task in env.tasks() if task.id == "sum-of-two")
    played = await play(env, [fenced("print(input())\nraise SystemExit(3)")], task)
    text = played.last.observation.messages[0].text
    assert "For the input\n1 2\n" in text
    assert "the output should be\n3\n" in text
    assert "Standard output:\n1 2\nExit code: 3" in text
    await env.close()


async def test_a_share_of_the_reward_can_be_paid_for_a_share_of_the_tests(
    environments: Environments, tasks_path: str
) -> None:
    half = fenced("def double(x):\n    return 2 * x if isinstance(x, int) else None")
    env = environments("functions", tasks_path=tasks_path, partial=0.4)
    played = await play(env, [half])
    assert isinstance(played.last.reward, Reward)
    assert {part.name: part.value for part in played.last.reward.components} == {"solved": 0.0, "hidden_tests": 0.5}
    assert played.total == pytest.approx(0.2)
    assert played.last.info["verdict"]["passed"] == 1
    assert played.last.info["isolation"] == "namespaces"
    await env.close()


async def test_tampering_is_a_metric_and_says_what_was_tried(environments: Environments, tasks_path: str) -> None:
    env = environments("functions", tasks_path=tasks_path)
    played = await play(env, [fenced("import os\ndef double(x):\n    os._exit(0)")])
    assert played.total == 0.0
    assert played.last.info["metrics"]["tampering"] == 1
    assert played.last.info["verdict"]["tampering"] == ["ended the interpreter"]
    await env.close()


async def test_one_liners_need_no_fence_and_split_by_content(environments: Environments) -> None:
    env = environments("one_liners", level=[1, 3])
    for task in env.tasks("train").head(5):
        assert (await play_oracle(env, task)).total == 1.0
        assert str(task.answer).startswith("def f(x): return ")
        assert "\n" not in str(task.answer)
    played = await play(env, [fenced(str(env.task.answer))], env.task)
    assert played.total == 1.0
    questions = {split: {task.question for task in env.tasks(split).head(100)} for split in ("train", "dev", "test")}
    assert not questions["train"] & questions["test"]
    assert max(len(question.split()) for question in questions["train"]) < 20
    await env.close()


@pytest.mark.parametrize("x", [-3, 0, 7])
def test_a_recipe_and_its_expression_agree(x: int) -> None:
    for steps in [(("+", 2), ("*", 3)), (("*", 3), ("+", 2)), (("-", 4), ("-", 5), ("*", 2), ("*", 2), ("+", 9))]:
        recipe = Recipe(steps)
        assert eval(recipe.expression, {"x": x}) == recipe(x)


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```\nand\n```\nx = 2\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nor better\n```python\nx = 2\n```", "x = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("  ```python\n  x = 1\n  ```", "  x = 1\n"),
        ("```python\nx = 1", None),
        ("```bash\nls\n```", None),
        ("", None),
        (" \n", None),
        ("x" * (MAX_LENGTH + 1), None),
    ],
)
def test_the_program_of_a_reply_is_found(reply: str, program: str | None) -> None:
    assert find_program(reply) == program


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "tasks.jsonl:1: Invalid JSON"),
        ('{"id": "x"}', "tasks.jsonl:1: question: Field required. A line looks like"),
        (json.dumps(DOUBLE | {"split": "dev"}), "no tasks in the split 'train'; it has dev"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=message):
        Environments()("functions", tasks_path=str(path)).tasks()


def test_a_missing_file_says_what_is_expected() -> None:
    with pytest.raises(MissingDataError, match="one JSON object a line"):
        Environments()("functions", tasks_path="/nowhere.jsonl").tasks()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, "attempts must lie between"),
        ({"decay": 2.0}, "decay must lie between"),
        ({"partial": -0.1}, "partial must lie between"),
        ({"call_seconds": 0}, "call_seconds must be above 0"),
        ({"limits": {"wall": 3}}, "limits: .*they are wall_seconds"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Environments()("functions", **wrong)
    with pytest.raises(RegistryError, match="It takes"):
        Environments()("functions", zzz=1)


async def test_the_same_program_is_the_same_state(environments: Environments, tasks_path: str) -> None:
    def state(env: Env) -> object:
        return env.state_key()

    env = environments("functions-retry", tasks_path=tasks_path)
    await env.reset(seed=0)
    before = state(env)
    await env.step(Action(assistant(fenced("x = 1"))))
    assert before != state(env)
    await env.close()
