"""Configurations that make no sense are refused when they are read, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentenv.config import load_config
from agentenv.errors import ConfigError
from agentenv.learn.config import TrainConfig
from agentenv.learn.config.advantage import Grpo, TurnGae


def load(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, None, ["environment=calculator-v0", *overrides])


def test_the_environment_is_all_that_must_be_said() -> None:
    assert load().siblings == 8


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("siblings=1", "siblings = 2 or more"),
        ("temperature=0", "greedy siblings are all alike"),
        ("temperature=-1", "greedy siblings are all alike"),
        ("learner.minibatches=257", "an iteration has only 256 episodes"),
        ("evaluation.split=train", "the split that is trained on"),
        ("loss.clip_low=1.5", "less than 1"),
        ("learner.lr=nan", "finite"),
        ("learner.lr=0", "greater than 0"),
        ("learner.learning_rate=1", "is no setting"),
        ("learner.row_view=chopped", "merged"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(override)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["advantage.kind=gae"], r"gae needs values: add a \[critic\]"),
        (["critic.lr=1e-3"], "nothing would read the critic: grpo does without"),
        (["advantage.kind=imitation"], "goes with loss.kind = 'reinforce'"),
        (["advantage.kind=preference"], "goes with loss.kind = 'reinforce'"),
        (["advantage.kind=preference", "loss.kind=reinforce", "loss.kl.coefficient=1"], "leave out loss.kl"),
        (["loss.correction.kind=token"], "with proximal = 'behaviour' they are the same"),
        (["loss.proximal=log_linear", "loss.correction.kind=sequence"], "nothing of a sequence's product"),
        (
            ["loss.proximal=recomputed", "loss.correction.kind=sequence", "learner.row_view=transition"],
            "a sequence correction weighs whole episodes",
        ),
        (["loss.aggregation=sequence_sum_constant"], "belong together"),
        (["loss.constant_length=10"], "belong together"),
        (["loss.kl.estimator=k1"], "k1 in the loss has a gradient of mean zero"),
        (["loss.kl.placement=reward"], "take estimator = 'k1'"),
        (
            ["advantage.kind=maxrl", "loss.kl.placement=reward", "loss.kl.estimator=k1"],
            "makes rewards negative",
        ),
        (["groups.resample_on_correct=true", "siblings=7"], "take an even number from 4 on"),
        (
            ["advantage.kind=reinforce", "advantage.baseline=none", "siblings=1", "groups.dynamic_sampling=true"],
            "differ",
        ),
        (["groups.overlong.maximum=10", "groups.overlong.cushion=11"], "longer than maximum"),
        (["loss.correction.low=6", "loss.proximal=recomputed"], "must lie below high"),
        (["advantage.kind=gigpo", "advantage.ddof=0"], "ddof"),
        (["advantage.kind=gipgo"], r"advantage.kind = 'gipgo' is none: did you mean 'gigpo'"),
        (["loss.kind=xyz"], "loss.kind = 'xyz' is none: there are reinforce, unclipped, ppo_clip"),
    ],
)
def test_algorithms_that_make_no_sense_are_refused_with_the_reason(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(*overrides)


def test_a_table_without_a_kind_is_of_the_default_kind() -> None:
    assert load("advantage.divide_by_std=false").advantage == Grpo(divide_by_std=False)


def test_another_kind_begins_a_table_anew(tmp_path: Path) -> None:
    """What the file says of the old kind is none of the new one's business."""
    path = tmp_path / "grpo.toml"
    path.write_text("environment = 'calculator-v0'\n[advantage]\ndivide_by_std = false\n[critic]\n")
    config = load_config(TrainConfig, path, ["advantage.kind=turn_gae", "advantage.trace=0.9"])
    assert config.advantage == TurnGae(trace=0.9)


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
