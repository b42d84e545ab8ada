"""Each part of the objective, one step through the trainer: it goes where it should."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import CorrectionConfig, KlConfig, Proximal  # noqa: E402
from agentenv.learn.config import loss as kinds  # noqa: E402
from agentenv.learn.losses import token_distribution  # noqa: E402
from agentenv.learn.streams import TrainingRow  # noqa: E402
from tests.learn.build import gradient_of, logprobs_of, random_rows, row, tiny_model, trainer, weights_of  # noqa: E402

IDS = [3, 5, 7, 9, 11]
SAMPLED = [2, 4]

LOSSES: dict[str, kinds.LossConfig] = {
    "reinforce": kinds.Reinforce(),
    "unclipped": kinds.Unclipped(),
    "ppo": kinds.PpoClip(),
    "dual clip": kinds.PpoClip(dual_clip=3.0),
    "gspo": kinds.Gspo(),
    "cispo": kinds.Cispo(),
    "dppo": kinds.Dppo(),
}


def own_row(model: Any, advantage: float, **changes: Any) -> TrainingRow:
    """A row that `model` itself could have sampled."""
    return row(IDS, SAMPLED, advantage=advantage, logprobs=logprobs_of(model, IDS, SAMPLED).tolist(), **changes)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_one_step_of_every_loss_goes_the_way_of_the_advantage(name: str, advantage: float) -> None:
    model = tiny_model()
    before = logprobs_of(model, IDS, SAMPLED).sum()
    trainer(model, LOSSES[name], minibatches=1, lr=1e-3).update([own_row(model, advantage)], random.Random(0))
    assert (logprobs_of(model, IDS, SAMPLED).sum() - before) * advantage > 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_same_gradient_however_the_batch_is_cut(name: str) -> None:
    rows = random_rows(8, model=tiny_model())
    whole, cut = (gradient_of(tiny_model(), rows, LOSSES[name], tokens_per_microbatch=size) for size in (9999, 40))
    assert whole.gradient.norm() > 0
    assert ((cut.gradient - whole.gradient).norm() / whole.gradient.norm()).item() < 1e-6
    assert cut.loss == pytest.approx(whole.loss, rel=1e-6)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_a_divergence_in_the_loss_pulls_every_token_towards_the_reference(estimator: Any) -> None:
    """Without any advantage there is nothing else to follow."""
    model = tiny_model()
    own = logprobs_of(model, IDS, SAMPLED)
    for at, shift in ((0, 0.5), (1, -0.5)):  # one token that the reference finds likelier, one it finds less likely
        reference = numpy.zeros(len(IDS), dtype=numpy.float32)
        reference[SAMPLED] = own
        reference[SAMPLED[at]] += shift
        learnt = tiny_model()
        learner = trainer(learnt, kinds.PpoClip(kl=KlConfig(estimator=estimator)), minibatches=1, lr=1e-4)
        rows = [dataclasses.replace(own_row(model, 0.0), reference_logprobs=reference)]
        told = learner.update(rows, random.Random(0), kl_coefficient=0.5)
        assert told.kl_reference > 0
        assert (logprobs_of(learnt, IDS, SAMPLED)[at] - own[at]) * shift > 0


def test_a_coefficient_of_zero_leaves_the_divergence_measured_but_without_pull() -> None:
    model = tiny_model()
    before = weights_of(model)
    reference = numpy.full(len(IDS), -1.0, dtype=numpy.float32)
    rows = [dataclasses.replace(own_row(model, 0.0), reference_logprobs=reference)]
    told = trainer(model, kinds.PpoClip(kl=KlConfig())).update(rows, random.Random(0), kl_coefficient=0.0)
    assert told.kl_reference > 0
    assert torch.equal(weights_of(model), before)


def test_an_entropy_bonus_raises_the_entropy() -> None:
    def entropy(model: Any) -> float:
        logits = model(input_ids=torch.tensor([IDS])).logits[0, [at - 1 for at in SAMPLED]]
        return token_distribution(logits, torch.tensor([IDS[at] for at in SAMPLED])).entropies.mean().item()

    model = tiny_model()
    before = entropy(model)
    learner = trainer(model, kinds.PpoClip(entropy_bonus=0.1), minibatches=1, lr=1e-3)
    told = learner.update([own_row(model, 0.0)], random.Random(0))
    assert told.entropy == pytest.approx(before, abs=1e-5)
    assert told.loss == pytest.approx(-0.1 * before, abs=1e-5)
    assert entropy(model) > before


def test_a_correction_scales_each_tokens_gradient_and_drops_the_ones_it_distrusts() -> None:
    """REINFORCE at π_p = 2 π_b: twice the gradient; beyond IcePop's bounds none."""
    model = tiny_model()
    plain = own_row(model, 1.0)

    def gradient(kind: Any, ratio: float) -> torch.Tensor:
        config = kinds.Reinforce(proximal=Proximal.RECOMPUTED, correction=CorrectionConfig(kind=kind, cap=3.0))
        old = plain.behaviour_logprobs + plain.mask * numpy.float32(math.log(ratio))
        return gradient_of(tiny_model(), [dataclasses.replace(plain, old_logprobs=old)], config).gradient

    uncorrected = gradient_of(tiny_model(), [plain], kinds.Reinforce()).gradient
    for kind, ratio, factor in (
        ("token", 2.0, 2.0),
        ("token", 5.0, 3.0),
        ("sequence", 1.5, 2.25),  # two tokens
        ("sequence", 5.0, 3.0),
        ("icepop", 2.0, 2.0),
    ):
        difference = gradient(kind, ratio) - factor * uncorrected
        assert difference.norm() < 1e-5 * uncorrected.norm()
    assert not gradient("icepop", 6.0).any()


# --- how often, and over what -----------------------------------------------------------------------------------------


def test_epochs_are_further_passes_over_the_same_rows() -> None:
    rows = random_rows(8, model=tiny_model())
    once, thrice = tiny_model(), tiny_model()
    rng = random.Random(0)
    single = trainer(once, minibatches=2)
    told = [single.update(rows, rng) for _ in range(3)]
    whole = trainer(thrice, minibatches=2, epochs=3).update(rows, random.Random(0))
    assert torch.equal(weights_of(once), weights_of(thrice))
    assert (whole.steps, whole.tokens) == (6, 3 * told[0].tokens)
    assert whole.loss == pytest.approx(sum(one.loss for one in told) / 3)
    # Only the first step's tokens were seen by the weights the update began with.
    assert whole.mismatch_mean == pytest.approx(told[0].mismatch_mean)


def test_rows_without_advantage_count_in_the_mean_or_do_not() -> None:
    """Two tokens of advantage 1 at u = 1 and six of 0: the loss is −1 over the two, −2/8 over the eight."""
    model = tiny_model()
    rows = [own_row(model, 1.0, name="a"), *(own_row(model, 0.0, name=name) for name in "bcd")]
    dropped, counted = (gradient_of(tiny_model(), rows, idle_rows=idle) for idle in ("drop", "count"))
    assert dropped.loss == pytest.approx(-1.0, abs=1e-5)
    assert counted.loss == pytest.approx(-0.25, abs=1e-5)
    assert (counted.gradient - dropped.gradient / 4).norm() < 1e-5 * counted.gradient.norm()


def test_counted_rows_without_advantage_cost_no_forward_pass() -> None:
    model = tiny_model()
    rows = [own_row(model, 1.0, name="a"), own_row(model, 0.0, name="b")]
    told = trainer(model, idle_rows="count", minibatches=1).update(rows, random.Random(0))
    assert (told.rows, told.skipped_rows, told.tokens) == (2, 1, 2)


def test_a_minibatch_of_counted_rows_alone_takes_no_step() -> None:
    model = tiny_model()
    rows = [own_row(model, 1.0, name="a"), own_row(model, 0.0, name="b")]
    assert trainer(model, idle_rows="count", minibatches=2).update(rows, random.Random(0)).steps == 1
    assert trainer(model, idle_rows="drop", minibatches=2).update(rows, random.Random(0)).steps == 1
