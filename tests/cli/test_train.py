from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.support import TIMEOUT, agentenv, environment, here

torch = pytest.importorskip("torch")

from agentenv.cli.training_report import draw_curve  # noqa: E402
from agentenv.cli.training_view import TrainingView  # noqa: E402
from agentenv.learn.events import EpisodeFinished, RunStarted, WarmupStep  # noqa: E402
from agentenv.outcome import Status  # noqa: E402

CONFIG = """
environment = "calculator-v0"
policy = "tiny:start"
iterations = 2
tasks_per_iteration = 2
siblings = 2
max_tokens = 4
learner.threads = 1
evaluation = {every = 2, tasks = 2}
final_test = {tasks = 4}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained policy in start/ and a configuration in calculator.toml."""
    from agentenv_tiny import create_policy

    folder = tmp_path_factory.mktemp("train")
    create_policy(folder / "start")
    (folder / "calculator.toml").write_text(CONFIG)
    return folder


def test_training_runs_goes_on_and_refuses_another_configuration(folder: Path) -> None:
    first = agentenv("train", "calculator.toml", "--learner.lr", "1e-5", "--json", folder=folder)
    assert first.code == 0, first.err
    assert first.json["iterations"] == 2
    run = folder / first.json["run"]
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    for said in ("reward", "length", "entropy", "tokens/s", "stale 0.0", "bubble", "evaluation on dev after 2"):
        assert said in first.err

    longer = agentenv("train", "calculator.toml", "--learner.lr", "1e-5", "--iterations", "3", folder=folder)
    assert longer.code == 0, longer.err
    assert "goes on after iteration 2" in longer.err
    assert re.search(r"next: .* play calculator-v0 --policy tiny:", longer.out)
    assert re.search(r" eval calculator-v0 --policy tiny:.* --temperature 0", longer.out)
    assert longer.out.count("before, return 0") == longer.out.count("after, return 0") == 3
    assert "4 unseen tasks (split test), greedy" in longer.out

    other = agentenv("train", "calculator.toml", "--learner.lr", "1e-3", folder=folder)
    assert other.code == 1
    assert "learner.lr: 1e-05 ≠ 0.001" in other.err


INTERRUPTED_IN_WARMUP = """
import os, signal, torch
import agentenv.learn.warmup as warmup
from agentenv.cli import main

def interrupted(*_):
    os.kill(os.getpid(), signal.SIGINT)
    weight = torch.zeros(64, 64, requires_grad=True)
    while True:
        (weight @ weight).sum().backward()

warmup.supervise = interrupted
main()
"""
WARMUP = """
[warmup]
demonstrator = "oracle"
demonstrations = 2
steps = 1
"""


def test_an_interrupt_while_torch_works_is_one_clear_line_and_the_same_command_goes_on(folder: Path) -> None:
    (folder / "warmup.toml").write_text(CONFIG + WARMUP)
    program = [sys.executable, "-c", INTERRUPTED_IN_WARMUP, "train", "warmup.toml"]
    ended = subprocess.run(program, cwd=folder, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith("error: interrupted; 0 iterations")
    assert "Traceback" not in ended.stderr
    again = agentenv("train", "warmup.toml", "--json", folder=folder)
    assert (again.code, again.json["iterations"]) == (0, 2), again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calculator.toml", "--learner.rl", "1"], "learner.rl is no setting. Did you mean 'learner.lr'?"),
        (["calculator.toml", "--iteration", "1"], "Did you mean 'iterations'"),
        (["calculator.toml", "--siblings", "1"], "siblings = 2 or more"),
        (["calculator.toml", "--policy", "openai:http://127.0.0.1:1/v1"], "cannot be trained"),
        (["calculator.toml", "--policy", "tiny:nowhere"], "no model in nowhere"),
        (["--iterations", "1", "calculator.toml"], "name the TOML file before"),
        (["gone.toml"], "gone.toml cannot be read"),
    ],
)
def test_a_mistake_is_one_clear_line_and_starts_nothing(folder: Path, arguments: list[str], said: str) -> None:
    result = here("train", *arguments, "--out", "refused", folder=folder)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err
    assert not (folder / "refused").exists()


def test_the_view_shows_the_mean_of_the_episodes_that_were_scored() -> None:
    screen = io.StringIO()
    with TrainingView(Console(file=screen, force_terminal=True, width=120)) as view:
        view.on_event(RunStarted(Path("run"), iterations=5, episodes_per_iteration=3, resumed_at=2))
        view.on_event(WarmupStep(1, 1, loss=0.25))
        for done, reward in enumerate((1.0, None, 0.0), start=1):
            status = Status.OK if reward is not None else Status.MODEL_ERROR
            view.on_event(EpisodeFinished(3, done, 3, status, reward))
    assert "goes on after iteration 2" in screen.getvalue()
    assert "reward 0.500" in screen.getvalue()
    assert "1 steps on demonstrations, loss 0.250" in screen.getvalue()


def test_a_curve_is_drawn_from_whatever_was_measured(tmp_path: Path) -> None:
    assert draw_curve(tmp_path) is None
    iteration = {"kind": "iteration", "reward_mean": 0.5, "response_mean": 9.0, "sampled_per_second": 100.0}
    entries = [
        {"kind": "evaluation", "iteration": 0, "reward": {"mean": None, "standard_error": None}},
        {**iteration, "iteration": 1, "update": {"entropy": None}},
        {**iteration, "iteration": 2, "update": {"entropy": 1.0}, "reward_mean": None},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert draw_curve(tmp_path) == tmp_path / "learning_curve.png"


def test_a_policy_without_an_argument_serves_the_model_of_the_file(folder: Path) -> None:
    from agentenv.cli.train_config import TrainRun

    file = folder / "calculator.toml"
    assert TrainRun.load(file, [], None).policy == "tiny:start"
    assert TrainRun.load(file, [], "vllm").policy == "vllm:start"
    assert TrainRun.load(file, [], "vllm:elsewhere").policy == "vllm:elsewhere"
    assert TrainRun.load(file, ["policy=tiny:other"], "vllm").policy == "vllm:other"
    (folder / "nobody.toml").write_text(CONFIG.replace('policy = "tiny:start"', ""))
    assert TrainRun.load(folder / "nobody.toml", [], "tiny").policy == "tiny"
