"""The losses: hand numbers, direction of the gradient, where the clip cuts, and autograd against finite differences."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from agentenv.learn.losses import (  # noqa: E402
    kl_k1,
    kl_k3,
    ppo_clip,
    token_distribution,
    weighted_sum,
)

CLIP = {"clip_low": 0.2, "clip_high": 0.28}


def log(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_logprobs_and_entropy_of_a_distribution_worked_by_hand() -> None:
    # Probabilities 1/2, 1/4, 1/4: entropy 1/2 ln 2 + 1/2 ln 4 = 1.5 ln 2.
    found = token_distribution(log(0.5, 0.25, 0.25).repeat(2, 1) + 3.0, torch.tensor([0, 2]))
    assert found.logprobs.tolist() == pytest.approx([math.log(0.5), math.log(0.25)])
    assert found.entropies.tolist() == pytest.approx([1.5 * math.log(2)] * 2)


def test_the_temperature_divides_the_logits() -> None:
    # At T = 1/2 the odds are squared: 4 : 1 from 2 : 1.
    found = token_distribution(log(2.0, 1.0)[None], torch.tensor([0]), temperature=0.5)
    assert found.logprobs.exp().tolist() == pytest.approx([0.8])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.2, 2.0, -2.4),
        (1.5, 2.0, -2.56),  # clipped to 1.28
        (0.5, 2.0, -1.0),  # A > 0 is not clipped below
        (0.5, -2.0, 1.6),  # clipped to 0.8
        (0.9, -2.0, 1.8),
        (1.5, -2.0, 3.0),  # A < 0 is not clipped above
    ],
)
def test_the_clipped_surrogate_is_the_worse_of_the_two(ratio: float, advantage: float, loss: float) -> None:
    assert ppo_clip(log(ratio), numbers(0.0), numbers(advantage), **CLIP).item() == pytest.approx(loss)


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"),
    [
        # The derivative of −uA by log pi is −uA, and 0 where the clip has cut.
        (1.0, 2.0, -2.0),
        (1.27, 2.0, -2.54),
        (1.29, 2.0, 0.0),
        (0.5, 2.0, -1.0),
        (0.79, -2.0, 0.0),
        (0.81, -2.0, 1.62),
        (1.5, -2.0, 3.0),
    ],
)
def test_the_clip_cuts_the_gradient_exactly_where_it_must(ratio: float, advantage: float, slope: float) -> None:
    logprob = log(ratio).requires_grad_()
    ppo_clip(logprob, numbers(0.0), numbers(advantage), **CLIP).sum().backward()
    assert logprob.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(("advantage", "rises"), [(1.0, True), (-1.0, False)])
def test_one_gradient_step_moves_a_token_in_the_direction_of_its_advantage(advantage: float, rises: bool) -> None:
    logits = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    sampled = torch.tensor([1])
    before = token_distribution(logits, sampled).logprobs
    ppo_clip(before, before.detach(), numbers(advantage), **CLIP).sum().backward()
    with torch.no_grad():
        after = token_distribution(logits - 0.1 * logits.grad, sampled).logprobs
    assert (after > before).item() is rises
    assert after.item() != before.item()


def test_autograd_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    sampled = torch.tensor([0, 3, 2, 1, 0])
    old = torch.randn(5, generator=generator, dtype=torch.float64) * 0.05 - 1.4
    advantages = numbers(1.0, -1.0, 0.5, -2.0, 2.0)
    weights = numbers(1.0, 2.0, 1.0, 0.0, 3.0)

    def loss(values: torch.Tensor) -> torch.Tensor:
        logprobs = token_distribution(values, sampled, temperature=0.7).logprobs
        return weighted_sum(ppo_clip(logprobs, old, advantages, **CLIP), weights, 7.0)

    assert torch.autograd.gradcheck(loss, (logits,))


def test_a_token_of_weight_zero_changes_neither_loss_nor_gradient() -> None:
    logits = torch.tensor([[0.3, -0.2], [0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    logprobs = token_distribution(logits, torch.tensor([0, 1])).logprobs
    losses = ppo_clip(logprobs, logprobs.detach(), numbers(1.0, 50.0), **CLIP)
    loss = weighted_sum(losses, numbers(1.0, 0.0), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(-1.0)
    assert logits.grad[1].tolist() == [0.0, 0.0]
    assert logits.grad[0].abs().sum() > 0


def test_divergence_estimates_worked_by_hand() -> None:
    # u = 2: k1 = −ln 2, k3 = 2 − 1 − ln 2; u = 1: both 0.
    assert kl_k1(log(2.0, 1.0)).tolist() == pytest.approx([-math.log(2), 0.0])
    assert kl_k3(log(2.0, 1.0)).tolist() == pytest.approx([1.0 - math.log(2), 0.0])


def test_both_divergence_estimates_average_to_the_divergence() -> None:
    behaviour, now = numbers(0.5, 0.3, 0.2), numbers(0.4, 0.4, 0.2)
    exact = (behaviour * (behaviour / now).log()).sum()
    log_ratios = (now / behaviour).log()
    assert (behaviour * kl_k1(log_ratios)).sum().item() == pytest.approx(exact.item())
    assert (behaviour * kl_k3(log_ratios)).sum().item() == pytest.approx(exact.item())
    assert (kl_k3(log_ratios) >= 0).all()
