"""The reasoning-gym adapter: honest ids, rebuildable tasks, splits that do not overlap, the datasets' own verdicts."""

from __future__ import annotations

import importlib.metadata
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from agentenv.check.measure import global_generators
from agentenv.env import Action
from agentenv.errors import ConfigError, EnvironmentFailure, UnsupportedError
from agentenv.messages import assistant
from agentenv.registry import make
from agentenv.tasks import Task
from agentenv_reasoning_gym import dataset_names, specs
from agentenv_reasoning_gym.items import USES_GLOBAL_RNG, Items, items_of
from tests.conftest import require


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """codeio runs programs of its own to make its items, and some of them write where they stand."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        import reasoning_gym  # noqa: F401
    except ModuleNotFoundError:
        require(False, "reasoning-gym")


def test_the_names_read_from_source_are_exactly_the_registered_ones() -> None:
    from reasoning_gym.factory import DATASETS

    assert set(dataset_names()) == set(DATASETS)
    assert len(dataset_names()) == len(DATASETS)


def test_the_version_of_reasoning_gym_is_part_of_the_specification() -> None:
    version = importlib.metadata.version("reasoning-gym")
    assert all(f"reasoning-gym=={version}" in spec.tags for spec in specs())


def test_listing_the_ids_does_not_import_reasoning_gym() -> None:
    program = "import sys, agentenv_reasoning_gym as g; assert g.specs(); sys.exit('reasoning_gym' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_dataset_builds_an_item_and_rebuilds_the_same_one() -> None:
    for spec in specs():
        config = {key: value for key, value in spec.kwargs.items() if key != "dataset"}
        name = str(spec.kwargs["dataset"])
        first, again = Items(name, config).item(7), Items(name, config).item(7)
        assert first.question, name
        assert (first.question, first.example) == (again.question, again.example), name


def test_only_the_datasets_said_to_use_global_generators_do() -> None:
    touching = set()
    for spec in specs():
        config = {key: value for key, value in spec.kwargs.items() if key != "dataset"}
        items = Items(str(spec.kwargs["dataset"]), config)
        for number in range(3):
            before = global_generators()
            items._dataset[number]
            if global_generators() != before:
                touching.add(items.name)
    assert touching == USES_GLOBAL_RNG


@pytest.mark.parametrize("name", sorted(USES_GLOBAL_RNG))
async def test_a_generator_that_uses_the_global_state_is_isolated_and_says_so(name: str) -> None:
    env = make(f"reasoning_gym/{name}-v0", seed=3)
    random.seed(5)
    numpy.random.seed(5)
    before = global_generators()
    items_of.__globals__["_cached"].cache_clear()
    _, info = await env.reset(seed=1)
    assert "global random state" in info["contained"]
    assert global_generators() == before


@pytest.mark.parametrize("name", ["chain_sum", "graph_color", "rubiks_cube", "composite", "simple_integration"])
async def test_the_oracle_scores_full_marks_from_the_row_alone_and_silence_does_not(name: str) -> None:
    task = make(f"reasoning_gym/{name}-v0").tasks("test").task(0)
    env = make(f"reasoning_gym/{name}-v0")
    await env.reset(task=Task.from_json(task.to_json()), seed=0)
    assert (await env.step(Action(env.oracle()))).reward == 1.0
    await env.reset(task=task, seed=0)
    silent = await env.step(Action(assistant("")))
    assert silent.terminated
    assert silent.reward is not None
    assert silent.reward < 0.5


async def test_only_the_last_answer_between_tags_counts() -> None:
    env = make("reasoning_gym/chain_sum-v0")
    await env.reset(seed=0)
    right = env.task.answer
    result = await env.step(Action(assistant(f"<answer>no</answer> or rather <answer> {right} </answer>")))
    assert result.reward == 1.0
    await env.reset(seed=0)
    assert (await env.step(Action(assistant(f"it is {right}")))).reward == 0.0


def test_no_question_is_in_two_splits_even_of_a_dataset_with_few_questions() -> None:
    env = make("reasoning_gym/coin_flip-v0", min_trials=2, max_trials=4)
    seen = {split: {task.question for task in env.tasks(split).head(60)} for split in ("train", "dev", "test")}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]


def test_another_seed_gives_other_problems_and_the_same_seed_the_same() -> None:
    def questions(seed: int) -> list[str]:
        return [task.question for task in make("reasoning_gym/chain_sum-v0", seed=seed).tasks().head(5)]

    assert questions(1) == questions(1) != questions(2)


def test_an_unknown_option_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no option 'min_term'.*min_terms"):
        make("reasoning_gym/chain_sum-v0", min_term=3)


def test_values_the_dataset_refuses_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="chain_sum refuses"):
        make("reasoning_gym/chain_sum-v0", min_terms=5, max_terms=2)


async def test_a_task_made_with_other_options_is_refused_instead_of_scored_wrongly() -> None:
    task = make("reasoning_gym/chain_sum-v0", min_terms=2, max_terms=2).tasks().task(0)
    with pytest.raises(EnvironmentFailure, match="other options"):
        await make("reasoning_gym/chain_sum-v0", min_terms=6, max_terms=6).reset(task=task)
    with pytest.raises(EnvironmentFailure, match="names no item"):
        await make("reasoning_gym/chain_sum-v0").reset(task=Task.ask("mine", "1 + 1?"))


async def test_a_dataset_without_any_example_says_that_it_has_no_oracle() -> None:
    env = make("reasoning_gym/rush_hour-v0")
    await env.reset(seed=0)
    with pytest.raises(UnsupportedError, match="rush_hour"):
        env.oracle()
