"""Supervised learning: only the masked tokens are learnt, weights count, the rate decays to zero."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import SupervisedConfig  # noqa: E402
from agentenv.learn.errors import InvalidRowError  # noqa: E402
from agentenv.learn.streams import demonstration  # noqa: E402
from agentenv.learn.supervised import SupervisedStep, linear_decay, supervise  # noqa: E402
from tests.learn.build import logprobs_of, tiny_model  # noqa: E402

IDS = [3, 5, 7, 9]
MASK = [False, False, True, True]


def test_demonstrations_are_learnt() -> None:
    model = tiny_model()
    steps: list[SupervisedStep] = []
    config = SupervisedConfig(steps=40, rows_per_step=2, lr=1e-2)
    supervise(model, lambda index: demonstration(str(index), IDS, MASK), config, steps.append)
    assert [step.step for step in steps] == list(range(40))
    assert steps[-1].loss < 0.1 < steps[0].loss
    assert (logprobs_of(model, IDS, [2, 3]) > math.log(0.9)).all()


def test_the_loss_is_the_mean_surprise_of_the_masked_tokens_alone() -> None:
    expected = -logprobs_of(tiny_model(), IDS, [2, 3]).mean()
    steps: list[SupervisedStep] = []
    config = SupervisedConfig(steps=1, rows_per_step=1)
    supervise(tiny_model(), lambda index: demonstration("d", IDS, MASK), config, steps.append)
    assert steps[0].loss == pytest.approx(expected, rel=1e-5)
    assert steps[0].tokens == 2


def test_a_demonstration_of_weight_three_counts_as_three() -> None:
    losses = {}
    for name, rows in {
        "weighted": [demonstration("a", IDS, MASK, 3.0), demonstration("b", IDS[::-1], MASK)],
        "repeated": [demonstration("a", IDS, MASK)] * 3 + [demonstration("b", IDS[::-1], MASK)],
    }.items():
        steps: list[SupervisedStep] = []
        config = SupervisedConfig(steps=1, rows_per_step=len(rows))
        supervise(tiny_model(), rows.__getitem__, config, steps.append)
        losses[name] = steps[0].loss
    assert losses["weighted"] == pytest.approx(losses["repeated"], rel=1e-5)


def test_each_step_takes_the_next_rows() -> None:
    asked: list[int] = []

    def demonstrate(index: int) -> object:
        asked.append(index)
        return demonstration(str(index), IDS, MASK)

    supervise(tiny_model(), demonstrate, SupervisedConfig(steps=3, rows_per_step=2), lambda step: None)  # type: ignore[arg-type]
    assert asked == [0, 1, 2, 3, 4, 5]


def test_the_learning_rate_decays_linearly_from_its_full_value() -> None:
    assert [linear_decay(step, 4, 8.0) for step in range(5)] == [8.0, 6.0, 4.0, 2.0, 0.0]
    steps: list[SupervisedStep] = []
    config = SupervisedConfig(steps=4, rows_per_step=1, lr=1e-3)
    supervise(tiny_model(), lambda index: demonstration("d", IDS, MASK), config, steps.append)
    assert [step.lr for step in steps] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_a_demonstration_with_nothing_to_learn_is_refused_by_name() -> None:
    with pytest.raises(InvalidRowError, match="empty-one"):
        supervise(
            tiny_model(),
            lambda index: demonstration("empty-one", IDS, [False] * 4),
            SupervisedConfig(steps=1),
            lambda step: None,
        )
