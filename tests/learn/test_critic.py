"""The critic inside the trainer: what learns, what stays as it is, and what values come to."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import CriticConfig, LearnerConfig  # noqa: E402
from agentenv.learn.config.loss import PpoClip  # noqa: E402
from agentenv.learn.critic import Critic  # noqa: E402
from agentenv.learn.objective import Objective  # noqa: E402
from agentenv.learn.streams import TrainingRow  # noqa: E402
from agentenv.learn.trainer import Trainer  # noqa: E402
from tests.learn.build import logprobs_of, row, tiny_model, weights_of  # noqa: E402

IDS = [3, 5, 7, 9, 11]
SAMPLED = [2, 4]


def with_critic(model: Any, critic: CriticConfig, **learner: Any) -> Trainer:
    config = LearnerConfig(**({"minibatches": 1} | learner))
    return Trainer(model, config, Objective(PpoClip()), critic=Critic(model, critic), critic_config=critic)


def valued(
    model: Any, *, returns: float = 2.0, old: float = 0.0, advantage: float = 0.0, name: str = "e"
) -> TrainingRow:
    """A row the model could have sampled, with one return for all tokens."""
    plain = row(IDS, SAMPLED, advantage=advantage, logprobs=logprobs_of(model, IDS, SAMPLED).tolist(), name=name)
    return dataclasses.replace(
        plain, returns=plain.mask * numpy.float32(returns), old_values=plain.mask * numpy.float32(old)
    )


def values(trainer: Trainer) -> list[float]:
    (stream,) = trainer.values([row(IDS, SAMPLED)])
    found: list[float] = stream[SAMPLED].tolist()
    return found


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_a_new_critic_says_nothing_and_then_learns_the_returns(kind: Any) -> None:
    model = tiny_model()
    trainer = with_critic(model, CriticConfig(kind=kind, lr=3e-2))
    assert values(trainer) == [0.0, 0.0]
    first, *_, last = (trainer.update([valued(model)], random.Random(0)).value_loss for _ in range(60))
    assert first == pytest.approx(2.0)  # ½ (0 − 2)²
    assert last < 0.02
    assert values(trainer) == pytest.approx([2.0, 2.0], abs=0.2)


@pytest.mark.parametrize("kind", ["head", "separate"])
def test_while_only_the_critic_is_trained_every_weight_of_the_policy_stays_to_the_bit(kind: Any) -> None:
    model = tiny_model()
    trainer = with_critic(model, CriticConfig(kind=kind), weight_decay=0.1)
    rows = [valued(model, advantage=1.0)]
    trainer.update(rows, random.Random(0))  # the optimizer has moments of the policy now, and would go on by them
    before, said = weights_of(model), values(trainer)
    told = trainer.update(rows, random.Random(0), critic_only=True)
    assert torch.equal(weights_of(model), before)
    assert values(trainer) != said
    assert told.value_gradient_norm > 0
    assert numpy.isnan(told.gradient_norm)


@pytest.mark.parametrize(("share", "moves"), [(True, True), (False, False)])
def test_whether_the_value_loss_reaches_the_layers_it_shares_is_a_setting(share: bool, moves: bool) -> None:
    model = tiny_model()
    trainer = with_critic(model, CriticConfig(kind="head", share_gradient=share))
    trainer.update([valued(model)], random.Random(0))  # without advantage; the head, at zero, passes nothing on yet
    before = weights_of(model)
    trainer.update([valued(model)], random.Random(0))
    assert torch.equal(weights_of(model), before) is not moves


def test_a_critic_of_its_own_leaves_the_policy_to_the_policys_loss() -> None:
    with_values, without = tiny_model(), tiny_model()
    with_critic(with_values, CriticConfig(kind="separate")).update(
        [valued(tiny_model(), advantage=1.0)], random.Random(0)
    )
    trainer = Trainer(without, LearnerConfig(minibatches=1), Objective(PpoClip()))
    trainer.update([valued(tiny_model(), advantage=1.0)], random.Random(0))
    assert torch.equal(weights_of(with_values), weights_of(without))


def test_a_value_that_has_moved_further_than_the_clip_towards_its_return_is_pulled_no_further() -> None:
    model = tiny_model()
    # V is 0 and was −1 before the update, by the rows: it has moved by 1 towards its return of 2.
    for clip, loss, pulled in ((None, 2.0, True), (1.5, 2.0, True), (0.5, 3.125, False)):  # ½ (−0.5 − 2)² = 3.125
        trainer = with_critic(model, CriticConfig(kind="separate", clip=clip))
        told = trainer.update([valued(model, old=-1.0)], random.Random(0))
        assert told.value_loss == pytest.approx(loss)
        assert (told.value_gradient_norm > 0) is pulled
        assert (values(trainer) != [0.0, 0.0]) is pulled


def test_the_critic_learns_at_its_own_rate_and_from_rows_without_advantage() -> None:
    model = tiny_model()
    before = weights_of(model)
    trainer = with_critic(model, CriticConfig(kind="separate", lr=0.5), lr=1e-12)
    told = trainer.update([valued(model)], random.Random(0))
    assert told.skipped_rows == 0
    assert torch.allclose(weights_of(model), before, atol=1e-9)
    assert abs(values(trainer)[0]) > 0.1


def test_rows_without_returns_are_refused() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="a critic needs rows with returns"):
        with_critic(model, CriticConfig()).update([row(IDS, SAMPLED)], random.Random(0))
