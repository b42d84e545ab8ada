"""The configured objective: what each part adds to a token's loss, and its slope against finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from agentenv.learn.config import CorrectionConfig, KlConfig, Proximal  # noqa: E402
from agentenv.learn.config import loss as kinds  # noqa: E402
from agentenv.learn.losses import token_distribution  # noqa: E402
from agentenv.learn.objective import Objective, Tokens  # noqa: E402

LOSSES: dict[str, kinds.LossConfig] = {
    "reinforce": kinds.Reinforce(),
    "unclipped": kinds.Unclipped(),
    "ppo": kinds.PpoClip(),
    "dual clip": kinds.PpoClip(dual_clip=3.0),
    "gspo": kinds.Gspo(clip_low=0.2, clip_high=0.28),
    "cispo": kinds.Cispo(),
    "dppo": kinds.Dppo(),
}


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def log(*values: float) -> torch.Tensor:
    return numbers(*values).log()


def tokens(new: torch.Tensor, behaviour: torch.Tensor, **streams: Any) -> Tokens:
    """Tokens of one sequence, each of advantage 1 and no entropy, unless told otherwise."""
    plain = {
        "entropies": torch.zeros_like(new),
        "advantages": torch.ones_like(new),
        "sequences": torch.zeros(len(new), dtype=torch.long),
    }
    return Tokens(logprobs=new, behaviour_logprobs=behaviour, **(plain | streams))


def corrected(correction: CorrectionConfig, **streams: Any) -> Any:
    """REINFORCE with e-fold likely tokens (−A log π = 1 each) so that a token's loss is its correction."""
    config = kinds.Reinforce(proximal=Proximal.RECOMPUTED, correction=correction)
    old = streams["old_logprobs"]
    return Objective(config)(tokens(torch.full_like(old, -1.0), torch.zeros_like(old), **streams))


# --- corrections: π_p / π_b is given by old_logprobs, as log π_b = 0 --------------------------------------------------


def test_a_token_correction_is_the_ratio_up_to_its_cap() -> None:
    told = corrected(CorrectionConfig(kind="token", cap=2.0), old_logprobs=log(0.5, 1.5, 3.0))
    assert told.corrections.tolist() == pytest.approx([0.5, 1.5, 2.0])
    assert told.losses.tolist() == pytest.approx([0.5, 1.5, 2.0])


def test_without_a_cap_the_token_correction_is_unbounded() -> None:
    told = corrected(CorrectionConfig(kind="token", cap=None), old_logprobs=log(0.5, 90.0))
    assert told.losses.tolist() == pytest.approx([0.5, 90.0])


def test_a_sequence_correction_is_the_product_of_its_tokens_up_to_its_cap() -> None:
    # 0.5 · 1.5 = 0.75; 2 · 2 = 4, cut at 3.
    told = corrected(
        CorrectionConfig(kind="sequence", cap=3.0),
        old_logprobs=log(0.5, 1.5, 2.0, 2.0),
        sequences=torch.tensor([0, 0, 1, 1]),
    )
    assert told.losses.tolist() == pytest.approx([0.75, 0.75, 3.0, 3.0])


def test_icepop_drops_tokens_outside_its_bounds_and_weighs_the_others() -> None:
    told = corrected(CorrectionConfig(kind="icepop"), old_logprobs=log(0.4, 0.6, 4.0, 6.0))
    assert told.losses.tolist() == pytest.approx([0.0, 0.6, 4.0, 0.0])


def test_decoupled_ppo_clips_against_the_proximal_policy_and_weighs_its_distance_from_the_sampler() -> None:
    # u = 0.6 / 0.4 = 1.5, clipped at 1.28; π_p / π_b = 0.4 / 0.2 = 2.
    config = kinds.PpoClip(proximal=Proximal.RECOMPUTED, correction=CorrectionConfig(cap=None))
    told = Objective(config)(tokens(log(0.6), log(0.2), old_logprobs=log(0.4)))
    assert told.losses.tolist() == pytest.approx([-2.56])
    assert told.log_ratios.tolist() == pytest.approx([math.log(1.5)])
    assert (told.clipped_high.tolist(), told.clipped_low.tolist()) == ([True], [False])


def test_a_log_linear_proximal_policy_lies_between_sampler_and_policy() -> None:
    # log π_b = −4, log π_θ = −2, half-way −3: u = e, clipped at 1.28.
    config = kinds.PpoClip(proximal=Proximal.LOG_LINEAR)
    told = Objective(config)(tokens(numbers(-2.0), numbers(-4.0), proximal_mix=numbers(0.5)))
    assert told.log_ratios.tolist() == pytest.approx([1.0])
    assert told.losses.tolist() == pytest.approx([-1.28])


# --- what is added to the loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "divergence"),
    [
        ("k2", math.log(2) ** 2 / 2),
        ("k3", 0.5 - 1 + math.log(2)),  # π_ref / π_θ = 1/2
    ],
)
def test_a_divergence_is_added_times_its_coefficient(estimator: Any, divergence: float) -> None:
    config = kinds.Reinforce(kl=KlConfig(estimator=estimator))
    told = Objective(config)(tokens(log(0.5), log(0.5), reference_logprobs=log(0.25)), 0.1)
    assert told.divergence.tolist() == pytest.approx([divergence])
    assert told.losses.tolist() == pytest.approx([math.log(2) + 0.1 * divergence])


def test_an_entropy_bonus_is_subtracted() -> None:
    config = kinds.Reinforce(entropy_bonus=0.5)
    told = Objective(config)(tokens(log(0.5), log(0.5), entropies=numbers(0.6)))
    assert told.losses.tolist() == pytest.approx([math.log(2) - 0.3])


def test_rows_without_what_the_objective_reads_are_refused_by_its_name() -> None:
    plain = tokens(log(0.5), log(0.5))
    for config, missing in (
        (kinds.PpoClip(proximal=Proximal.RECOMPUTED), "old_logprobs"),
        (kinds.PpoClip(proximal=Proximal.LOG_LINEAR), "proximal_mix"),
        (kinds.PpoClip(kl=KlConfig()), "reference_logprobs"),
    ):
        with pytest.raises(ValueError, match=missing):
            Objective(config)(plain)


# --- slopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extras", ["plain", "all"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_slope_of_every_loss_is_that_of_finite_differences(name: str, extras: str) -> None:
    """By logits, with every addition. Constants of an objective (weights, what is dropped) are held where they are."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logits, sampled = random(6, 5), torch.tensor([0, 4, 2, 1, 3, 3])
    own = token_distribution(logits, sampled).logprobs
    config = LOSSES[name]
    if extras == "all":
        added = {
            "proximal": Proximal.RECOMPUTED,
            "correction": CorrectionConfig(),
            "kl": KlConfig(),
            "entropy_bonus": 0.1,
        }
        config = config.model_copy(update=added)
    streams = {
        "advantages": random(6),
        "sequences": torch.tensor([0, 0, 0, 1, 1, 1]),
        "old_logprobs": own + 0.2 * random(6),
        "reference_logprobs": own + 0.5 * random(6),
    }
    behaviour = own + 0.2 * random(6)
    weight = torch.exp(own - streams["old_logprobs"] if extras == "all" else own - behaviour).clamp(0.8, 1.28)

    def loss(values: torch.Tensor) -> torch.Tensor:
        distribution = token_distribution(values, sampled, entropy_gradient=True)
        given = tokens(distribution.logprobs, behaviour, entropies=distribution.entropies, **streams)
        losses = Objective(config)(given, 0.3).losses
        if name == "cispo":  # its weight is a constant to autograd, but not to differences: put in the one it had
            old = streams["old_logprobs"] if extras == "all" else behaviour
            moving = torch.exp(distribution.logprobs.detach() - old).clamp(0.8, 1.28)
            correction = torch.exp(old - behaviour).clamp_max(2.0) if extras == "all" else 1.0
            losses = losses + correction * (moving - weight) * streams["advantages"] * distribution.logprobs
        return losses

    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(),))
