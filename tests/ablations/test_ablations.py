"""The ablations: every file is one difference from the base, and the table says what its runs say."""

from __future__ import annotations

import asyncio
import json
import math
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.cli.train_config import TrainRun
from examples.ablations import launch as launching
from examples.ablations.grid import HERE, Run, Variant, grid, starts, variants
from examples.ablations.launch import RESULT, launch
from examples.ablations.report import lines, markdown, noise

FILES = sorted(HERE.glob("*/*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_variant_loads_and_differs_from_the_base(file: Path) -> None:
    base = TrainRun.load(HERE / "base.toml", [], None)
    variant = TrainRun.load(file, [], None)
    assert tomllib.loads(file.read_text())["base"] == "../base.toml"
    assert base.training.differences(variant.training)


def test_the_questions_of_the_suite_are_all_there() -> None:
    assert {variant.question for variant in variants()} == {
        "base",
        "baseline",
        "group_size",
        "horizon",
        "kl",
        "learning_rate",
        "length_normalisation",
        "prompt_template",
        "reuse",
        "rows",
        "signatures",
        "staleness",
        "std_normalisation",
        "warm_start",
    }


def test_every_variant_begins_with_a_model_that_is_made_for_it() -> None:
    assert [file.stem for file in starts(variants(["horizon"]))] == [
        "start",
        "start_horizon_4",
        "start_horizon_6",
        "start_horizon_8",
        "start_horizon_10",
    ]
    assert [file.stem for file in starts(variants(["kl"]))] == ["start"]


def test_a_question_that_is_none_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no question lr; there are baseline, .*learning_rate"):
        variants(["lr"])


def test_the_base_runs_more_often_and_an_interrupted_grid_is_an_even_one(tmp_path: Path) -> None:
    base, other = Variant("base", "base", tmp_path), Variant("kl", "0.1", tmp_path)
    runs = grid([base, other], seeds=2, base_seeds=3, out=tmp_path)
    assert [(run.variant.title, run.seed) for run in runs] == [
        ("base", 0),
        ("kl-0.1", 0),
        ("base", 1),
        ("kl-0.1", 1),
        ("base", 2),
    ]


def finished(folder: Path, success: float, rewards: tuple[float, ...] = (0.5,)) -> None:
    folder.mkdir(parents=True)
    entries = [
        {
            "kind": "iteration",
            "reward_mean": reward,
            "update": {"entropy": None, "tokens": 10},
            "seconds": {"update": 2},
        }
        for reward in rewards
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, entries)))
    (folder / RESULT).write_text(json.dumps({"test_after": {"success": {"rate": success}}}))


def test_the_table_gives_means_with_intervals_next_to_what_equal_runs_differ_by(tmp_path: Path) -> None:
    base, other = Variant("base", "base", tmp_path), Variant("kl", "0.1", tmp_path)
    runs = grid([base, other], seeds=2, base_seeds=3, out=tmp_path)
    for run, success in zip(runs, (0.8, 0.5, 0.9, 0.5, 1.0), strict=True):
        finished(run.folder, success)
    found = lines(runs)
    assert [(line.mean, len(line.outcomes)) for line in found] == [(pytest.approx(0.9), 3), (0.5, 2)]
    # Deviation 0.1 over three: 4.30 · 0.1 / √3.
    assert found[0].high - found[0].mean == pytest.approx(4.30 * 0.1 / math.sqrt(3))
    assert noise(found) == pytest.approx(0.1)
    # 0.4 lower, where two such means differ by 0.1 · √(1/2 + 1/3) = 0.09: beyond chance, so in bold.
    assert "| **-0.400** |" in markdown(found)


def test_a_difference_that_chance_makes_is_not_in_bold(tmp_path: Path) -> None:
    runs = grid(
        [Variant("base", "base", tmp_path), Variant("kl", "0.1", tmp_path)], seeds=2, base_seeds=2, out=tmp_path
    )
    for run, success in zip(runs, (0.8, 0.8, 1.0, 0.9), strict=True):
        finished(run.folder, success)
    assert "| -0.050 |" in markdown(lines(runs))


def test_a_run_whose_reward_has_fallen_below_half_of_its_best_has_collapsed(tmp_path: Path) -> None:
    run = Run(Variant("base", "base", tmp_path), 0, tmp_path / "seed-0")
    finished(run.folder, 0.9, (0.2, 0.9, 0.3, 0.1, 0.1))
    assert lines([run])[0].outcomes[0].collapsed


async def test_what_is_finished_is_not_run_again_and_a_failure_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    async def fake(file: Path, folder: Path, settings: list[str]) -> None:
        seed = int(settings[1])
        trained.append(seed)
        if seed == 1:
            raise launching.RunFailedError("seed 1 fell over")
        await asyncio.sleep(0)

    monkeypatch.setattr(launching, "_train", fake)
    runs = [Run(Variant("base", "base", tmp_path), seed, tmp_path / f"seed-{seed}") for seed in range(3)]
    finished(runs[0].folder, 0.9)
    told: dict[int, str | None] = {}
    await launch(runs, jobs=2, on_done=lambda run, failure: told.update({run.seed: failure}))
    assert sorted(trained) == [1, 2]
    assert told == {0: None, 1: "seed 1 fell over", 2: None}
