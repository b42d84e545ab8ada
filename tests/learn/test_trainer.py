"""The trainer: one gradient however the batch is cut, steps in the right direction, and refusals by name."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.errors import DivergedError, InvalidRowError, UpdateStoppedError  # noqa: E402
from agentenv.learn.losses import ppo_clip  # noqa: E402
from agentenv.learn.streams import TrainingRow  # noqa: E402
from tests.learn.build import VOCABULARY, logprobs_of, random_rows, row, tiny_model, trainer  # noqa: E402

IDS = [3, 5, 7, 9, 11]
SAMPLED = [2, 4]


def weights_of(model: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def updated(rows: list[TrainingRow], **changes: Any) -> tuple[torch.Tensor, Any]:
    """The weights of a fresh model after one update, and the diagnostics."""
    model = tiny_model()
    diagnostics = trainer(model, **({"minibatches": 1} | changes)).update(rows, random.Random(0))
    return weights_of(model), diagnostics


def own_row(advantage: float, model: Any) -> TrainingRow:
    """A row that `model` itself could have sampled."""
    return row(IDS, SAMPLED, advantage=advantage, logprobs=logprobs_of(model, IDS, SAMPLED).tolist())


@pytest.mark.parametrize(("advantage", "rises"), [(1.0, True), (-1.0, False)])
def test_an_update_moves_sampled_tokens_in_the_direction_of_their_advantage(advantage: float, rises: bool) -> None:
    model = tiny_model()
    before = logprobs_of(model, IDS, SAMPLED).sum()
    learner = trainer(model, minibatches=1, lr=1e-3)
    learner.update([own_row(advantage, model)], random.Random(0))
    after = logprobs_of(model, IDS, SAMPLED).sum()
    assert (after > before) == rises
    assert after != before


def gradient_of(rows: list[TrainingRow], tokens_per_microbatch: int) -> torch.Tensor:
    """The gradient of one update, read from Adam's first moment, which after one step is a tenth of it."""
    model = tiny_model().double()
    learner = trainer(model, minibatches=1, tokens_per_microbatch=tokens_per_microbatch, max_grad_norm=1e9)
    learner.update(rows, random.Random(0))
    states = learner.state_dict()["optimizer"]["state"]
    return torch.cat([states[index]["exp_avg"].flatten() for index in sorted(states)]) / 0.1


@pytest.mark.parametrize("tokens_per_microbatch", [1, 40, 200])
def test_the_gradient_does_not_depend_on_the_size_of_a_micro_batch(tokens_per_microbatch: int) -> None:
    rows = random_rows(12, model=tiny_model())
    whole = gradient_of(rows, 10_000)
    cut = gradient_of(rows, tokens_per_microbatch)
    assert whole.norm() > 0
    assert ((cut - whole).norm() / whole.norm()).item() < 1e-6


def test_the_gradient_is_that_of_the_weighted_mean_written_out_token_by_token() -> None:
    model = tiny_model()
    rows = random_rows(4, model=model)
    model = model.double()
    total = sum(float(one.weights.sum()) for one in rows)
    loss = torch.zeros((), dtype=torch.float64)
    for one in rows:
        every = torch.log_softmax(model(input_ids=torch.tensor(one.ids[None])).logits[0], dim=-1)
        for at in numpy.nonzero(one.mask)[0].tolist():
            streams = (one.behaviour_logprobs[at], one.advantages[at])
            old, advantage = (torch.tensor([float(value)], dtype=torch.float64) for value in streams)
            token = ppo_clip(every[at - 1, one.ids[at]][None], old, advantage, clip_low=0.2, clip_high=0.28)
            loss = loss + float(one.weights[at]) * token[0] / total
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    found = gradient_of(rows, 10_000)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-6


def test_unsampled_positions_change_nothing_but_the_context() -> None:
    rows = random_rows(4, model=tiny_model())
    noisy = [
        dataclasses.replace(
            one,
            advantages=numpy.where(one.mask, one.advantages, 99.0).astype(numpy.float32),
            behaviour_logprobs=numpy.where(one.mask, one.behaviour_logprobs, numpy.nan).astype(numpy.float32),
        )
        for one in rows
    ]
    assert torch.equal(updated(rows)[0], updated(noisy)[0])


def test_an_episode_cut_into_two_rows_weighs_as_much_as_in_one() -> None:
    model = tiny_model()
    logprobs = logprobs_of(model, IDS, SAMPLED).tolist()
    whole = [row(IDS, SAMPLED, logprobs=logprobs, weight=0.5, advantage=2.0)]
    parts = [
        row(IDS[:3], SAMPLED[:1], logprobs=logprobs[:1], weight=0.5, advantage=2.0),
        row(IDS, SAMPLED[1:], logprobs=logprobs[1:], weight=0.5, advantage=2.0),
    ]
    merged, split = gradient_of(whole, 10_000), gradient_of(parts, 10_000)
    assert ((merged - split).norm() / merged.norm()).item() < 1e-6


def test_rows_without_advantage_are_left_out_and_counted() -> None:
    model = tiny_model()
    useful = random_rows(3, model=model)
    idle = [row(IDS, SAMPLED, advantage=0.0, name=f"idle{n}") for n in range(5)]
    weights, diagnostics = updated([*idle, *useful])
    assert torch.equal(weights, updated(useful)[0])
    assert (diagnostics.rows, diagnostics.skipped_rows) == (8, 5)
    assert diagnostics.tokens == sum(int(one.mask.sum()) for one in useful)


def test_an_update_without_any_advantage_takes_no_step() -> None:
    weights, diagnostics = updated([row(IDS, SAMPLED, advantage=0.0)])
    assert torch.equal(weights, weights_of(tiny_model()))
    assert (diagnostics.steps, diagnostics.tokens) == (0, 0)
    assert math.isnan(diagnostics.loss)


def test_there_is_one_step_per_minibatch_and_no_more_than_episodes() -> None:
    rows = random_rows(6)
    assert updated(rows, minibatches=2)[1].steps == 2
    assert updated(rows, minibatches=50)[1].steps == 3


def test_the_mismatch_is_measured_before_the_first_step() -> None:
    model = tiny_model()
    own = logprobs_of(model, IDS, SAMPLED)
    rows = [row(IDS, SAMPLED, logprobs=(own + shift).tolist(), name=str(shift)) for shift in (0.0, 0.1)]
    _, diagnostics = updated(rows, lr=0.1)
    assert diagnostics.mismatch_mean == pytest.approx(0.05, abs=1e-5)
    assert diagnostics.mismatch_max == pytest.approx(0.1, abs=1e-5)
    # Ratios 1 and e^−0.1; KL estimates 0 and 0.1, 0 and e^−0.1 − 1 + 0.1.
    assert diagnostics.ratio_mean == pytest.approx((1 + math.exp(-0.1)) / 2, abs=1e-5)
    assert diagnostics.kl_k1 == pytest.approx(0.05, abs=1e-5)
    assert diagnostics.kl_k3 == pytest.approx((math.exp(-0.1) - 0.9) / 2, abs=1e-5)


def test_later_minibatches_see_the_weights_of_earlier_steps_but_do_not_count_as_mismatch() -> None:
    model = tiny_model()
    own = logprobs_of(model, IDS, SAMPLED).tolist()
    rows = [row(IDS, SAMPLED, logprobs=own, name=name) for name in "ab"]
    _, diagnostics = updated(rows, minibatches=2, lr=0.05)
    assert diagnostics.mismatch_max < 1e-5
    assert diagnostics.ratio_max > 1.01


def test_the_gradient_norm_is_reported_before_clipping() -> None:
    rows = random_rows(4, model=tiny_model())
    loose, tight = (updated(rows, max_grad_norm=norm)[1].gradient_norm for norm in (1e9, 1e-3))
    assert loose == pytest.approx(tight)
    assert loose > 1e-2


def test_clipped_tokens_are_reported_at_their_side() -> None:
    own = logprobs_of(tiny_model(), IDS, SAMPLED)
    rows = [
        row(IDS, SAMPLED, logprobs=(own - 1.0).tolist(), advantage=1.0, name="up"),
        row(IDS, SAMPLED, logprobs=(own + 1.0).tolist(), advantage=-1.0, name="down"),
        row(IDS, SAMPLED, logprobs=own.tolist(), advantage=1.0, name="free"),
    ]
    _, diagnostics = updated(rows)
    assert diagnostics.clip_fraction_high == pytest.approx(1 / 3)
    assert diagnostics.clip_fraction_low == pytest.approx(1 / 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logprob_that_is_not_finite_is_refused_by_name_and_position_before_any_step(bad: float) -> None:
    model = tiny_model()
    before = weights_of(model)
    rows = [*random_rows(3), row(IDS, SAMPLED, logprobs=[-1.0, bad], name="episode-7")]
    with pytest.raises(InvalidRowError, match=r"episode-7.*logprob at position 4"):
        trainer(model).update(rows, random.Random(0))
    assert torch.equal(weights_of(model), before)


def test_a_row_longer_than_the_context_is_refused() -> None:
    long = row([1] * 65, [64], name="long")
    with pytest.raises(InvalidRowError, match="long has 65 tokens but the model's context holds 64"):
        updated([long])


def test_rows_with_nothing_to_learn_or_nothing_before_it_are_refused() -> None:
    with pytest.raises(InvalidRowError, match="holds no sampled token"):
        updated([row(IDS, [])])
    with pytest.raises(InvalidRowError, match="starts with a sampled token"):
        updated([row(IDS, [0])])


def test_a_gradient_that_is_not_finite_stops_the_run_without_a_step() -> None:
    model = tiny_model()
    rows = [row(IDS, SAMPLED, logprobs=[-1e30, -1.0], advantage=-1.0)]  # the ratio overflows
    before = weights_of(model)
    with pytest.raises(DivergedError, match=r"lower learner\.lr"):
        trainer(model).update(rows, random.Random(0))
    assert torch.equal(weights_of(model), before)


def test_a_stopped_trainer_takes_no_further_step() -> None:
    model = tiny_model()
    learner = trainer(model)
    learner.stop()
    with pytest.raises(UpdateStoppedError):
        learner.update(random_rows(3), random.Random(0))
    assert torch.equal(weights_of(model), weights_of(tiny_model()))


def test_the_sampling_temperature_is_that_of_the_ratio() -> None:
    model = tiny_model()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([IDS])).logits[0] / 0.5
    every = torch.log_softmax(logits, dim=-1)
    logprobs = [every[at - 1, IDS[at]].item() for at in SAMPLED]
    learner = trainer(model, temperature=0.5, minibatches=1)
    diagnostics = learner.update([row(IDS, SAMPLED, logprobs=logprobs)], random.Random(0))
    assert diagnostics.mismatch_max < 1e-5


def test_training_goes_on_from_a_saved_optimizer_as_if_never_interrupted() -> None:
    rows = random_rows(8, model=tiny_model())

    def run(interrupted: bool) -> torch.Tensor:
        model = tiny_model()
        learner = trainer(model)
        for step in range(4):
            if interrupted and step == 2:
                saved, optimizer = model.state_dict(), learner.state_dict()
                model = tiny_model(seed=5)
                model.load_state_dict(saved)
                learner = trainer(model)
                learner.load_state_dict(optimizer)
            learner.update(rows, random.Random(step))
        return weights_of(model)

    assert torch.equal(run(interrupted=False), run(interrupted=True))


def test_repeated_updates_teach_the_rewarded_token() -> None:
    model = tiny_model()
    learner = trainer(model, minibatches=1, lr=1e-2)
    rng = random.Random(0)
    prompt, rewarded = [3, 5], 7
    for _ in range(20):
        rows = []
        for index in range(16):
            token = rng.randrange(VOCABULARY)
            logprobs = logprobs_of(model, [*prompt, token], [2]).tolist()
            advantage = 1.0 if token == rewarded else -0.1
            rows.append(row([*prompt, token], [2], advantage=advantage, logprobs=logprobs, name=str(index)))
        learner.update(rows, rng)
    assert math.exp(logprobs_of(model, [*prompt, rewarded], [2])[0]) > 0.5
