"""The horizons: what stands side by side there differs in its algorithm and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.cli.train_config import TrainRun
from benchmarks.learners import CONTESTS, HERE, Contest, Outcome, result

FILES = [run.variant.file for contest in CONTESTS for run in contest.runs]


def test_every_file_is_in_a_contest_and_every_contest_has_its_files() -> None:
    parts = {"base", "start"}
    assert set(FILES) == {file for file in HERE.glob("*/*.toml") if file.stem not in parts}


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda contest: f"{contest.suite}-{contest.variants[0]}")
def test_the_variants_of_a_contest_share_start_task_and_time(contest: Contest) -> None:
    runs = [TrainRun.load(run.variant.file, [], None) for run in contest.runs]
    assert len({run.policy for run in runs}) == 1
    assert len({run.time_limit for run in runs}) == 1
    assert len({str(run.environment_kwargs["level"]) for run in runs}) == 1
    assert len({(run.learner.lr, run.tasks_per_iteration, run.siblings) for run in runs}) == 1


def _outcomes(after: Sequence[float]) -> list[Outcome]:
    return [Outcome(seed, 0.0, value, 10, 60.0) for seed, value in enumerate(after)]


def test_the_verdict_goes_by_the_worst_short_run_and_the_best_long_algorithm() -> None:
    short = Contest("two_to_four", ("grpo",), seeds=2)
    long = Contest("five_to_six", ("grpo_outcome", "ppo"), seeds=2)
    found = {
        short: {"grpo": _outcomes([0.95, 0.89])},
        long: {"grpo_outcome": _outcomes([0.1, 0.3]), "ppo": _outcomes([0.9, 0.8])},
    }
    said = result(found)
    assert "between 0.890 and 0.950 (target: at least 0.9): missed" in said.verdict
    assert "the best is ppo with 0.850 on average (target: at least 0.8): met" in said.verdict
    assert said.table.rows[1] == ["five to six calls", "grpo outcome", "0.000", "0.100, 0.300", "0.200", "10", "60"]


def test_a_run_behind_a_server_has_a_folder_of_its_own() -> None:
    (run,) = Contest("two_to_four", ("grpo",), seeds=1, server="vllm").runs
    assert run.settings[:2] == ("--policy", "vllm")
    assert (run.folder.parent.name, run.variant.file) == ("grpo_vllm", Path(HERE / "two_to_four" / "grpo.toml"))
