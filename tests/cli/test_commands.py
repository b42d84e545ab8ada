from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import Result, agentenv, environment, here

PLAIN = """
from agentenv import ChatEnv, ListTasks, Task, assistant, reward

class Echo(ChatEnv):
    def __init__(self, word="[red]hi[/red] [/oops]"):
        super().__init__()
        self.word = word

    def tasks(self, split="train"):
        return ListTasks([Task.ask(f"t{i}", f"Say {self.word}", answer=self.word) for i in range(4)])

    @reward
    def correct(self, completion, answer):
        return float(completion == answer)

    def oracle(self):
        return assistant(self.task.answer)
"""


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    (tmp_path / "echo.py").write_text(PLAIN)
    return tmp_path


def one_line(result: Result) -> str:
    """The only line of a refusal: nothing on standard output, no traceback, an exit code that says so."""
    assert result.code in (1, 2)
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    return lines[0]


def test_environments_are_listed_for_people_and_for_scripts() -> None:
    shown, listed = agentenv("list"), agentenv("list", "--json", "--tag", "tools")
    assert shown.code == listed.code == 0
    assert "calculator-v0" in shown.out
    assert "calculator-v0" in [spec["id"] for spec in listed.json]
    assert all("tools" in spec["tags"] for spec in listed.json)


def test_policies_are_listed() -> None:
    rows = agentenv("list", "policies", "--json").json
    assert {"openai", "oracle", "noop", "random", "human"} <= {row["name"] for row in rows}
    assert "oracle" in agentenv("list", "policies").out


def test_an_environment_is_described_with_its_tools_and_its_opening() -> None:
    result = agentenv("describe", "calculator-v0", "--env.level", "2", "--json")
    assert result.code == 0
    assert result.json["spec"]["kwargs"] == {"level": 2}
    assert result.json["has_oracle"] is True
    assert [tool["function"]["name"] for tool in result.json["tools"]] == ["calculator"]
    assert "level=2" in agentenv("describe", "--env.level=2", "calculator-v0").out


def test_text_of_an_environment_is_never_read_as_markup(echo: Path) -> None:
    shown = agentenv("describe", "echo.py", folder=echo)
    assert shown.code == 0, shown.err
    assert "Say [red]hi[/red] [/oops]" in shown.out
    played = agentenv("play", "echo.py", "--policy", "oracle", folder=echo)
    assert "[red]hi[/red] [/oops]" in played.out
    assert "return 1" in played.out


def test_a_new_environment_passes_its_own_check_and_its_own_test(tmp_path: Path) -> None:
    made = agentenv("new", "environment", "letter-count", folder=tmp_path)
    assert made.code == 0, made.err
    assert sorted(os.listdir(tmp_path)) == ["letter_count.py", "test_letter_count.py"]
    checked = agentenv("check", "letter_count.py", "--json", folder=tmp_path)
    assert checked.code == 0, checked.out
    assert checked.json["findings"] == []
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letter_count.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert tested.returncode == 0, tested.stdout
    again = agentenv("new", "environment", "letter-count", folder=tmp_path)
    assert "is there already" in one_line(again)
    assert agentenv("new", "environment", "letter-count", "--force", folder=tmp_path).code == 0


@pytest.mark.parametrize("name", ["3 letters", "class", "a/b", "ünder", "!", ""])
def test_a_name_that_python_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be a Python name" in one_line(here("new", "environment", name, folder=tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_bad_verifier_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "generous.py").write_text(PLAIN.replace("completion == answer", "True"))
    result = agentenv("check", "generous.py", "--tasks", "3", folder=tmp_path)
    assert result.code == 1
    assert "error" in result.out


def test_a_human_plays_at_the_terminal(echo: Path) -> None:
    result = agentenv("play", "echo.py", "--env.word", "hello", folder=echo, typed="hello\n")
    assert result.code == 0, result.err
    assert "Say hello" in result.err
    assert "return 1" in result.out


INTERRUPTED_AT_THE_START = """
import os, signal
import agentenv.registry
from agentenv.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)
agentenv.registry.spec = lambda name: os.kill(os.getpid(), signal.SIGINT)
main()
"""


@pytest.mark.parametrize(
    "command", [["eval", "echo.py", "--policy", "noop"], ["check", "echo.py"]], ids=["eval", "check"]
)
def test_an_interrupt_before_a_command_has_begun_is_one_clear_line(echo: Path, command: list[str]) -> None:
    program = [sys.executable, "-c", INTERRUPTED_AT_THE_START, *command]
    ended = subprocess.run(program, cwd=echo, env=environment(), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr.strip()) == (130, "error: interrupted")


def test_a_human_may_leave(echo: Path) -> None:
    result = agentenv("play", "echo.py", folder=echo, typed="")
    assert result.code == 130
    assert "nothing was kept" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evl", "calculator-v0"], "Did you mean 'eval'?"),
        (["eval", "calculator-v0", "--policy", "oracel"], "no policy 'oracel'. Did you mean 'oracle'?"),
        (["eval", "calclator-v0", "--policy", "oracle"], "Did you mean 'calculator-v0'"),
        (["eval", "calculator-v0", "--policy", "oracle", "--splt", "test"], "--split"),
        (["eval", "calculator-v0", "--policy", "oracle", "--evn.level", "2"], "Did you mean 'env'?"),
        (["eval", "calculator-v0", "--policy", "oracle", "--env.levl", "2"], "unexpected keyword argument 'levl'"),
        (
            ["eval", "calculator-v0", "--policy", "oracle", "--rollout.max_concurent", "2"],
            "Did you mean 'max_concurrent'",
        ),
        (["eval", "calculator-v0", "--policy", "oracle", "--env.level"], "--env.level needs a value"),
        (["eval", "calculator-v0", "--policy", "oracle", "-n", "0"], "-n"),
        (["eval", "calculator-v0", "--policy", "random", "--policy.call_prob", "1"], "Did you mean 'call_probability'"),
        (["eval", "calculator-v0", "--policy", "openai:http://127.0.0.1:9/v1"], "cannot be reached"),
        (["eval", "calculator-v0"], "--policy"),
        (["eval", "missing.py", "--policy", "oracle"], "there is no file missing.py"),
        (["list", "--tag", "tols"], "Did you mean 'tools'"),
        (["describe", "calculator-v9"], "known versions: calculator-v0"),
        (["describe", "calculator-v0", "--policy.x", "1"], "no setting here"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in one_line(here(*arguments, folder=tmp_path))
    assert os.listdir(tmp_path) == []


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    result = here("describe", "calclator-v0", "--debug")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "RegistryError" in result.err


@pytest.mark.parametrize("name", ["list", "describe", "new", "check", "play", "eval", "train", "replay", "rescore"])
def test_every_command_has_a_help_with_an_example(name: str) -> None:
    result = here(name, "--help")
    assert result.code == 0
    assert f"Example: agentenv {name}" in result.out


def test_the_help_imports_nothing_heavy() -> None:
    code = "from agentenv.cli import run; run(['--help']); import json, sys; print(json.dumps(list(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    imported = set(json.loads(shown.stdout.splitlines()[-1]))
    assert "agentenv.cli.eval" in imported
    assert not imported & {"torch", "transformers", "pydantic", "gymnasium", "aiohttp", "numpy", "agentenv.env"}


def test_the_version_is_printed() -> None:
    import agentenv as package

    assert agentenv("--version").out.strip() == package.__version__
