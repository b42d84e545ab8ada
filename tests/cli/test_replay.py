from __future__ import annotations

from pathlib import Path

import pytest

from agentenv.outcome import Status
from agentenv.rollout import Journal
from tests.cli.support import agentenv

SOURCE = """
from agentenv import ChatEnv, ListTasks, Task, assistant, reward

class Sums(ChatEnv):
    def tasks(self, split="train"):
        return ListTasks([Task.ask(f"t{i}", f"{i} + {i}?", answer=str(i + i)) for i in range(4)])

    @reward
    def correct(self, completion, answer):
        return float(completion == answer)

    def oracle(self):
        return assistant(self.task.answer + "." * (self.task.id == "t3"))
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of four episodes; the oracle's full stop cost it one of them."""
    (tmp_path / "sums.py").write_text(SOURCE)
    result = agentenv("eval", "sums.py", "--policy", "oracle", "-n", "4", "--out", "run", "--json", folder=tmp_path)
    assert result.json["reward"]["mean"] == 0.75
    return tmp_path


def test_a_run_of_an_unchanged_environment_replays_the_same(run: Path) -> None:
    result = agentenv("replay", "run", "--json", folder=run)
    assert (result.code, result.json) == (0, {"episodes": 4, "turns": 4, "differences": []})
    assert "nothing differs" in agentenv("replay", "run", folder=run).out


def test_a_changed_verifier_is_found_by_replay_and_applied_by_rescore(run: Path) -> None:
    (run / "sums.py").write_text(SOURCE.replace("completion == answer", "completion.rstrip('.') == answer"))
    replayed = agentenv("replay", "run", folder=run)
    assert replayed.code == 1
    assert "t3 · turn 1 · reward" in replayed.out

    rescored = agentenv("rescore", "run", "--with", "sums.py", "--out", "again", folder=run)
    assert rescored.code == 0, rescored.err
    assert "mean return 0.7500 → 1.0000" in rescored.out
    assert "t3: 0 → 1" in rescored.out
    with Journal.open(run / "again" / "journal.sqlite", create=False) as journal:
        assert [episode.reward for episode in journal.episodes(Status.OK)] == [1.0] * 4
    numbers = agentenv("rescore", "run", "--json", folder=run).json
    assert (numbers["changed"], numbers["recorded_mean"], numbers["rescored_mean"]) == (1, 0.75, 1.0)


def test_a_verifier_that_fails_now_is_said_and_never_a_zero(run: Path) -> None:
    (run / "sums.py").write_text(SOURCE.replace("float(completion == answer)", "1 / 0"))
    result = agentenv("rescore", "run", folder=run)
    assert result.code == 1
    assert "4 are NOT scored" in result.out
    assert "not scored" in result.out
    assert "ZeroDivisionError" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "nowhere"], "nowhere is no run"),
        (["rescore", "nowhere"], "nowhere is no run"),
        (["rescore", "run", "--out", "run"], "is the run itself"),
        (["rescore", "run", "--env.level", "2"], "needs --with"),
    ],
)
def test_a_mistake_is_one_clear_line(run: Path, arguments: list[str], said: str) -> None:
    result = agentenv(*arguments, folder=run)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err
