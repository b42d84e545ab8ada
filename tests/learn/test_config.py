"""Configurations that make no sense are refused when they are read, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentenv.config import load_config
from agentenv.errors import ConfigError
from agentenv.learn.config import TrainConfig


def load(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, None, ["environment=calculator-v0", *overrides])


def test_the_environment_is_all_that_must_be_said() -> None:
    assert load().siblings == 8


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("siblings=1", "at least 2 siblings"),
        ("temperature=0", "greedy siblings are all alike"),
        ("temperature=-1", "greedy siblings are all alike"),
        ("learner.minibatches=257", "an iteration has only 256 episodes"),
        ("evaluation.split=train", "the split that is trained on"),
        ("learner.clip_low=1.5", "less than 1"),
        ("learner.lr=nan", "finite"),
        ("learner.lr=0", "greater than 0"),
        ("learner.learning_rate=1", "is no setting"),
        ("learner.row_view=chopped", "merged"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(override)


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = load("environment_kwargs.level=2", "learner.lr=1e-4", "evaluation.stop_at=0.9")
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    assert load_config(TrainConfig, path) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner.lr=1e-5", ["learner.lr: 0.0003 ≠ 1e-05"]),
        ("environment_kwargs.level=2", ["environment_kwargs: {} ≠ {'level': 2}"]),
        ("final_test.tasks=7", ["final_test.split: None ≠ 'test'", "final_test.tasks: None ≠ 7"]),
        ("iterations=999", []),
        ("learner.tokens_per_microbatch=1", []),
        ("rollout.max_concurrent=3", []),
        ("evaluation.stop_at=0.5", []),
    ],
)
def test_differences_name_what_changes_the_outcome_and_nothing_else(override: str, expected: list[Any]) -> None:
    assert load().differences(load(override)) == expected
    assert len(load(override).differences(load())) == len(expected)
