"""Log-probabilities and entropies of sampled tokens, and their gradients, against the plainest route there is."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from agentenv.learn.losses import distribution, token_distribution  # noqa: E402

COUNT, VOCABULARY = 7, 5


@pytest.fixture(params=[1, 12, 10_000], ids=["a row at a time", "two rows at a time", "all at once"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many logits are worked on at a time, the result is the same."""
    monkeypatch.setattr(distribution, "_CACHED", request.param)


def drawn(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are far from 0, and tokens, the same ones twice among them."""
    generator = torch.Generator().manual_seed(1)
    logits = 3.0 * torch.randn(COUNT, VOCABULARY, generator=generator, dtype=torch.float64) + 40.0
    return logits.to(dtype).requires_grad_(), torch.tensor([0, 4, 2, 2, 1, 3, 0])


def plainly(logits: torch.Tensor, sampled: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    logs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, dim=-1)
    return logs.gather(-1, sampled[:, None])[:, 0], -(logs.exp() * logs).sum(-1)


def test_by_hand() -> None:
    # Probabilities 1/2, 1/4, 1/4: log π = −ln 4, H = 1.5 ln 2, ∂ log π(1) / ∂z = (−1/2, 3/4, −1/4).
    logits = torch.tensor([[math.log(2.0), 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = token_distribution(logits, torch.tensor([1]))
    found.logprobs.sum().backward()
    assert found.logprobs.item() == pytest.approx(-math.log(4.0))
    assert found.entropies.item() == pytest.approx(1.5 * math.log(2.0))
    assert logits.grad.tolist() == [pytest.approx([-0.5, 0.75, -0.25])]


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 1e-2)]
)
def test_values_and_gradients_are_those_of_log_softmax(
    dtype: torch.dtype, tolerance: float, temperature: float
) -> None:
    logits, sampled = drawn(dtype)
    weights = torch.linspace(-1.0, 2.0, COUNT)
    found = token_distribution(logits, sampled, temperature, entropy_gradient=True)
    logprobs, entropies = plainly(logits, sampled, temperature)
    assert found.logprobs.dtype == logprobs.dtype
    assert torch.allclose(found.logprobs, logprobs, rtol=tolerance, atol=tolerance)
    assert torch.allclose(found.entropies, entropies, rtol=tolerance, atol=tolerance)
    (gradient,) = torch.autograd.grad((weights * found.logprobs + found.entropies).sum(), logits)
    (expected,) = torch.autograd.grad((weights * logprobs + entropies).sum(), logits)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("which", ["logprobs", "entropies"])
def test_autograd_agrees_with_finite_differences(which: str) -> None:
    logits, sampled = drawn(torch.float64)

    def one(values: torch.Tensor) -> torch.Tensor:
        return getattr(token_distribution(values, sampled, 0.7, entropy_gradient=True), which)

    assert torch.autograd.gradcheck(one, (logits,))


def test_the_logits_are_left_as_they_were() -> None:
    logits, sampled = drawn(torch.float32)
    before = logits.detach().clone()
    token_distribution(logits, sampled).logprobs.sum().backward()
    assert torch.equal(logits.detach(), before)


def test_no_tokens_give_no_numbers() -> None:
    logits = torch.zeros(0, 4, requires_grad=True)
    found = token_distribution(logits, torch.zeros(0, dtype=torch.int64))
    found.logprobs.sum().backward()
    assert (found.logprobs.shape, found.entropies.shape, logits.grad.shape) == ((0,), (0,), (0, 4))
