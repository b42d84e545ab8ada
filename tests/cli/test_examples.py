"""The configurations in `examples/` are ones that can be trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from agentenv.cli.train_config import TrainRun
from agentenv.config import load_config
from agentenv.learn.setting import environment_spec
from agentenv.registry import make

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_is_a_run_in_an_environment_that_has_tasks_to_be_tested_on(path: Path) -> None:
    config = load_config(TrainRun, path)
    env = make(environment_spec(config))
    for evaluation in (config.evaluation, config.final_test):
        if evaluation is not None:
            assert list(env.tasks(evaluation.split).head(1))
