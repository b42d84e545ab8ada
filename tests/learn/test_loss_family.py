"""The family of losses: hand numbers, where each has a gradient, its direction, and autograd against differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest

torch = pytest.importorskip("torch")

from agentenv.errors import ConfigError  # noqa: E402
from agentenv.learn.losses import (  # noqa: E402
    AdaptiveCoefficient,
    cispo,
    dpo,
    dppo,
    gspo,
    icepop_weights,
    interpolated_logprobs,
    kl_k2,
    ppo_clip,
    proximal_mix,
    reinforce,
    sequence_mean,
    sequence_weights,
    token_distribution,
    token_weights,
    unclipped,
    value_loss,
)

CLIP = {"clip_low": 0.2, "clip_high": 0.28}
ONE_SEQUENCE = torch.zeros(4, dtype=torch.long)

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
LOSSES: dict[str, Loss] = {
    "reinforce": lambda new, old, advantages: reinforce(new, advantages),
    "unclipped": unclipped,
    "ppo": lambda new, old, advantages: ppo_clip(new, old, advantages, **CLIP),
    "dual": lambda new, old, advantages: ppo_clip(new, old, advantages, dual_clip=3.0, **CLIP),
    "gspo": lambda new, old, advantages: gspo(new, old, advantages, ONE_SEQUENCE[: len(new)], **CLIP),
    "cispo": lambda new, old, advantages: cispo(new, old, advantages, **CLIP),
    "dppo": dppo,
}


def log(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slope(loss: Callable[[torch.Tensor], torch.Tensor], logprobs: torch.Tensor) -> list[float]:
    """The derivative of the summed loss by each log-probability."""
    leaf = logprobs.clone().requires_grad_()
    loss(leaf).sum().backward()
    assert leaf.grad is not None
    found: list[float] = leaf.grad.tolist()
    return found


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("advantage", "rises"), [(1.0, True), (-1.0, False)])
def test_one_step_moves_every_loss_in_the_direction_of_the_advantage(name: str, advantage: float, rises: bool) -> None:
    logits = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    sampled = torch.tensor([1])
    before = token_distribution(logits, sampled).logprobs
    LOSSES[name](before, before.detach(), numbers(advantage)).sum().backward()
    with torch.no_grad():
        after = token_distribution(logits - 0.1 * logits.grad, sampled).logprobs
    assert (after > before).item() is rises
    assert after.item() != before.item()


@pytest.mark.parametrize("name", ["reinforce", "unclipped", "ppo", "gspo", "dual"])
def test_autograd_agrees_with_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    new = (torch.randn(4, generator=generator, dtype=torch.float64) * 0.05 - 1.4).requires_grad_()
    old = torch.randn(4, generator=generator, dtype=torch.float64) * 0.05 - 1.4
    advantages = numbers(1.0, -1.0, 0.5, -2.0)
    assert torch.autograd.gradcheck(lambda values: LOSSES[name](values, old, advantages), (new,))


@pytest.mark.parametrize("name", LOSSES)
def test_on_policy_every_loss_has_the_policy_gradient(name: str) -> None:
    # At u = 1 all of them have the slope −A; GSPO shares it out among the sequence's tokens.
    advantages = numbers(2.0, 2.0)
    found = slope(lambda new: LOSSES[name](new, log(0.3, 0.6), advantages), log(0.3, 0.6))
    assert found == pytest.approx([-2.0, -2.0])


def test_reinforce_worked_by_hand() -> None:
    assert reinforce(log(0.5), numbers(3.0)).tolist() == pytest.approx([3 * math.log(2)])


@pytest.mark.parametrize(
    ("ratio", "loss", "gradient"),
    [
        (2.0, 4.0, 4.0),  # −uA = 4, below the bound of 6
        (3.0, 6.0, 0.0),
        (5.0, 6.0, 0.0),  # −uA would be 10
        (0.5, 1.6, 0.0),  # the ordinary clip at 0.8
    ],
)
def test_the_dual_clip_bounds_the_loss_of_bad_tokens(ratio: float, loss: float, gradient: float) -> None:
    def bounded(new: torch.Tensor) -> torch.Tensor:
        return ppo_clip(new, numbers(0.0), numbers(-2.0), dual_clip=3.0, **CLIP)

    assert bounded(log(ratio)).item() == pytest.approx(loss)
    if ratio != 3.0:  # the corner itself has no slope
        assert slope(bounded, log(ratio)) == pytest.approx([gradient])


def test_the_dual_clip_leaves_good_tokens_alone() -> None:
    new, advantages = log(0.1, 1.1, 9.0), numbers(1.0, 1.0, 1.0)
    plain = ppo_clip(new, numbers(0, 0, 0), advantages, **CLIP)
    assert ppo_clip(new, numbers(0, 0, 0), advantages, dual_clip=3.0, **CLIP).tolist() == plain.tolist()


def test_gspo_clips_the_geometric_mean_of_the_ratios() -> None:
    # Ratios 4 and 1/4 of one sequence: s = 1, nothing is clipped. The other: 1.5 twice, clipped to 1.28.
    found = gspo(log(4.0, 0.25, 1.5, 1.5), numbers(0, 0, 0, 0), numbers(1, 1, 1, 1), torch.tensor([0, 0, 1, 1]), **CLIP)
    assert found.tolist() == pytest.approx([-1.0, -1.0, -1.28, -1.28])


def test_gspo_gives_every_token_of_a_sequence_the_same_gradient_and_a_clipped_sequence_none() -> None:
    # Mean over the tokens of −s A: slope −s A / n each, whatever the token's own ratio.
    sequences = torch.tensor([0, 0, 1, 1])

    def mean_of_sequences(new: torch.Tensor) -> torch.Tensor:
        return gspo(new, numbers(0, 0, 0, 0), numbers(3, 3, 3, 3), sequences, **CLIP) / 2

    assert slope(mean_of_sequences, log(4.0, 0.25, 1.5, 1.5)) == pytest.approx([-1.5, -1.5, 0.0, 0.0])


def test_cispo_keeps_the_gradient_of_a_token_whose_weight_is_clipped() -> None:
    def loss(new: torch.Tensor) -> torch.Tensor:
        return cispo(new, numbers(0, 0, 0), numbers(2, 2, -2), **CLIP)

    # Weights 1.28, 1, 0.8; the slope is −weight · A, where PPO's would be 0, −2 and 0.
    assert slope(loss, log(5.0, 1.0, 0.1)) == pytest.approx([-2.56, -2.0, 1.6])
    assert loss(log(5.0, 1.0, 0.1)).tolist() == pytest.approx([-2.56 * math.log(5), 0.0, 1.6 * math.log(0.1)])


def test_dppo_drops_what_has_moved_too_far_in_the_direction_of_its_advantage_and_nothing_else() -> None:
    def loss(new: torch.Tensor) -> torch.Tensor:
        return dppo(new, log(0.5, 0.5, 0.5, 0.001), numbers(1, -1, 1, 1))

    # Up by 0.3 with A > 0: dropped. Up by 0.3 with A < 0: kept. Down by 0.3 with A > 0: kept. Ten times as likely, but
    # only up by 0.009: kept.
    assert loss(log(0.8, 0.8, 0.2, 0.01)).tolist() == pytest.approx([0.0, 1.6, -0.4, -10.0])
    assert slope(loss, log(0.8, 0.8, 0.2, 0.01)) == pytest.approx([0.0, 1.6, -0.4, -10.0])


# --- sampler against learner ------------------------------------------------------------------------------------------


def test_token_weights_are_ratios_cut_at_the_cap_and_constants() -> None:
    proximal = log(0.6, 0.1).requires_grad_()
    assert token_weights(proximal, log(0.2, 0.2), cap=2.0).tolist() == pytest.approx([2.0, 0.5])
    assert token_weights(proximal, log(0.2, 0.2)).tolist() == pytest.approx([3.0, 0.5])
    assert not token_weights(proximal, log(0.2, 0.2)).requires_grad


def test_sequence_weights_multiply_over_the_sequence() -> None:
    # 1.5 · 0.5 = 0.75; 2 · 2 = 4, cut at 3.
    found = sequence_weights(log(1.5, 0.5, 2.0, 2.0), numbers(0, 0, 0, 0), torch.tensor([0, 0, 1, 1]), cap=3.0)
    assert found.tolist() == pytest.approx([0.75, 0.75, 3.0, 3.0])


def test_icepop_drops_what_the_engines_disagree_on() -> None:
    found = icepop_weights(log(0.49, 0.51, 4.9, 5.1), numbers(0, 0, 0, 0))
    assert found.tolist() == pytest.approx([0.0, 0.51, 4.9, 0.0])


def test_decoupled_ppo_is_the_clip_against_the_proximal_policy_weighted_by_how_far_it_is_from_the_sampler() -> None:
    # π_θ/π_p = 1.5 clipped to 1.28, π_p/π_b = 2: loss −2 · 1.28 for A = 1.
    new, proximal, behaviour = log(0.6), log(0.4), log(0.2)
    losses = token_weights(proximal, behaviour) * ppo_clip(new, proximal, numbers(1.0), **CLIP)
    assert losses.tolist() == pytest.approx([-2.56])


def test_the_log_linear_proximal_policy_lies_where_its_version_says() -> None:
    # Version 5 is made from version 4. Sampled by 1: α = 3/4; by 3: 1/2; by 4: 0, the sampler itself.
    mix = proximal_mix(numpy.array([1, 3, 4]), proximal_version=4, version=5)
    found = interpolated_logprobs(numbers(0.0, 0.0, 0.0), numbers(-4.0, -4.0, -4.0), torch.tensor(mix))
    assert found.tolist() == pytest.approx([-1.0, -2.0, -4.0])
    with pytest.raises(ConfigError, match="must be later"):
        proximal_mix(numpy.array([1]), proximal_version=4, version=4)


def test_a_token_of_later_weights_than_the_proximal_ones_is_its_own_proximal_policy() -> None:
    assert proximal_mix(numpy.array([6]), proximal_version=4, version=5).tolist() == [0.0]


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_second_estimator_is_half_the_squared_log_ratio() -> None:
    assert kl_k2(log(math.e**3)).tolist() == pytest.approx([4.5])


def test_the_gradient_of_the_second_estimator_is_that_of_the_divergence() -> None:
    logits = torch.tensor([0.4, -0.3, 0.2], dtype=torch.float64, requires_grad=True)
    reference = log(0.2, 0.5, 0.3)
    probabilities = torch.softmax(logits, 0)
    (exact,) = torch.autograd.grad((probabilities * (probabilities.log() - reference)).sum(), logits)
    estimate = (probabilities.detach() * kl_k2(reference - torch.log_softmax(logits, 0))).sum()
    (found,) = torch.autograd.grad(estimate, logits)
    assert found.tolist() == pytest.approx(exact.tolist())


def test_the_adaptive_coefficient_follows_the_divergence_by_bounded_steps() -> None:
    coefficient = AdaptiveCoefficient(1.0, target=0.1, gain=0.5)
    assert coefficient.update(0.1) == pytest.approx(1.0)
    assert coefficient.update(0.11) == pytest.approx(1.05)
    assert coefficient.update(99.0) == pytest.approx(1.05 * 1.1)
    assert coefficient.update(0.0) == pytest.approx(1.05 * 1.1 * 0.9)
    with pytest.raises(ConfigError, match="positive"):
        AdaptiveCoefficient(0.0, target=1.0)


def test_the_value_loss_is_half_the_squared_error_and_pulls_towards_the_return() -> None:
    assert value_loss(numbers(1.0, 3.0), numbers(2.0, 1.0)).tolist() == pytest.approx([0.5, 2.0])
    assert slope(lambda values: value_loss(values, numbers(2.0, 1.0)), numbers(1.0, 3.0)) == pytest.approx([-1.0, 2.0])


def test_a_clipped_value_that_has_moved_far_towards_its_target_has_no_gradient() -> None:
    def loss(values: torch.Tensor) -> torch.Tensor:
        return value_loss(values, numbers(2.0, 2.0, 2.0), numbers(0.0, 0.0, 0.0), clip=0.5)

    # Near values 0.3, 0.5 and −0.5. The first is within the clip; the second has left it towards the target: the loss
    # is that of 0.5; the third has left it away from the target and is pulled back.
    assert loss(numbers(0.3, 1.0, -1.0)).tolist() == pytest.approx([1.445, 1.125, 4.5])
    assert slope(loss, numbers(0.3, 1.0, -1.0)) == pytest.approx([-1.7, 0.0, -3.0])


def test_preference_loss_falls_as_the_chosen_answer_gains_on_the_rejected() -> None:
    # Margin 0 costs ln 2; margin 2 at β = 0.5 costs −ln σ(1).
    assert dpo(numbers(-5.0), numbers(-7.0), numbers(-5.0), numbers(-7.0)).tolist() == pytest.approx([math.log(2)])
    found = dpo(numbers(-4.0), numbers(-8.0), numbers(-5.0), numbers(-7.0), beta=0.5)
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-1))])
    chosen = slope(lambda values: dpo(values, numbers(-7.0), numbers(-5.0), numbers(-7.0)), numbers(-5.0))
    rejected = slope(lambda values: dpo(numbers(-5.0), values, numbers(-5.0), numbers(-7.0)), numbers(-7.0))
    assert chosen[0] == pytest.approx(-0.05)  # −β/2 at margin 0
    assert rejected[0] == pytest.approx(0.05)


def test_an_entropy_bonus_can_be_differentiated_when_asked_for() -> None:
    logits = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert not token_distribution(logits, torch.tensor([0])).entropies.requires_grad
    entropy = token_distribution(logits, torch.tensor([0]), entropy_gradient=True).entropies.sum()
    (rising,) = torch.autograd.grad(entropy, logits)
    assert rising[0, 0] < 0 < rising[0, 1]  # towards uniform


def test_sequence_means_do_not_mix_sequences_and_share_their_gradient() -> None:
    values = numbers(1.0, 3.0, 10.0)
    sequences = torch.tensor([0, 0, 1])
    assert sequence_mean(values, sequences).tolist() == [2.0, 2.0, 10.0]
    assert slope(lambda leaf: sequence_mean(leaf, sequences)[:1], values) == pytest.approx([0.5, 0.5, 0.0])
