"""A batch that does not fit into memory: tried once more in halves, then given up with a name and a remedy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.config import LearnerConfig  # noqa: E402
from agentenv.learn.config.loss import PpoClip  # noqa: E402
from agentenv.learn.errors import OutOfMemoryError  # noqa: E402
from agentenv.learn.objective import Objective  # noqa: E402
from agentenv.learn.parallel import Parallel  # noqa: E402
from agentenv.learn.trainer import Trainer  # noqa: E402
from tests.learn.build import random_rows, tiny_model, trainer, weights_of  # noqa: E402

WHAT_TORCH_RAISES: dict[str, Exception] = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
    "python": MemoryError(),
}


def failing(model: Any, error: Exception, fails: Callable[[int, int], bool]) -> list[int]:
    """Makes the model's decoder raise where `fails(pass, positions)`; returns the positions of every pass."""
    plain, sizes = model.base_model.forward, []

    def forward(input_ids: torch.Tensor, **rest: Any) -> Any:
        sizes.append(input_ids.numel())
        if fails(len(sizes) - 1, input_ids.numel()):
            raise error
        return plain(input_ids=input_ids, **rest)

    model.base_model.forward = forward
    return sizes


def prepared(model: Any) -> Trainer:
    return trainer(model, minibatches=1, tokens_per_microbatch=100)


@pytest.mark.parametrize("name", WHAT_TORCH_RAISES)
def test_an_update_whose_memory_ran_out_once_is_the_same_update_in_halves(name: str) -> None:
    rows = random_rows(10, model=tiny_model())
    whole, broken = tiny_model(), tiny_model()
    expected = prepared(whole).update(rows, random.Random(0))
    learner = prepared(broken)
    sizes = failing(broken, WHAT_TORCH_RAISES[name], lambda index, size: index == 1)  # the second pass, half-way
    told = learner.update(rows, random.Random(0))
    assert max(sizes[:2]) > 50 >= max(sizes[2:])
    assert torch.allclose(weights_of(broken), weights_of(whole), atol=1e-6)
    # Nothing of the first attempt is counted.
    assert (told.split_batches, told.steps, told.tokens) == (1, 1, expected.tokens)
    assert told.loss == pytest.approx(expected.loss, rel=1e-5)
    assert told.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-5)


@pytest.mark.parametrize("name", WHAT_TORCH_RAISES)
def test_a_batch_that_does_not_fit_in_halves_either_is_refused_without_a_step(name: str) -> None:
    model = tiny_model()
    rows = random_rows(10, model=model)
    longest = max(len(row.ids) for row in rows)
    before = weights_of(model)
    learner = prepared(model)
    sizes = failing(model, WHAT_TORCH_RAISES[name], lambda index, size: True)
    remedy = rf"50 tokens does not fit .* has {longest}\): lower learner\.tokens_per_microbatch"
    with pytest.raises(OutOfMemoryError, match=remedy):
        learner.update(rows, random.Random(0))
    assert len(sizes) == 2
    assert torch.equal(weights_of(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_among_several_processes_nothing_is_tried_again_as_the_others_would_wait() -> None:
    class OneOfTwo(Parallel):
        size = 2

    model = tiny_model()
    config = LearnerConfig(minibatches=1, tokens_per_microbatch=100)
    learner = Trainer(model, config, Objective(PpoClip()), parallel=OneOfTwo())
    sizes = failing(model, WHAT_TORCH_RAISES["gpu"], lambda index, size: True)
    with pytest.raises(OutOfMemoryError, match="100 tokens does not fit"):
        learner.update(random_rows(4), random.Random(0))
    assert len(sizes) == 1


def test_another_error_is_nobodys_memory() -> None:
    model = tiny_model()
    learner = prepared(model)
    sizes = failing(model, RuntimeError("shapes do not match"), lambda index, size: True)
    with pytest.raises(RuntimeError, match="shapes"):
        learner.update(random_rows(4), random.Random(0))
    assert len(sizes) == 1


def test_scoring_whose_memory_ran_out_once_says_the_same_in_halves() -> None:
    rows = random_rows(10, model=tiny_model())
    expected = prepared(tiny_model()).logprobs(rows)
    broken = tiny_model()
    learner = prepared(broken)
    sizes = failing(broken, WHAT_TORCH_RAISES["cpu"], lambda index, size: index == 1)
    found = learner.logprobs(rows)
    assert max(sizes[:2]) > 50 >= max(sizes[2:])
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_scoring_that_does_not_fit_in_halves_either_says_what_to_do() -> None:
    model = tiny_model()
    rows, learner = random_rows(10, model=model), prepared(model)
    failing(model, WHAT_TORCH_RAISES["cpu"], lambda index, size: True)
    with pytest.raises(OutOfMemoryError, match=r"50 tokens does not fit .*: lower learner\.tokens_per_microbatch"):
        learner.logprobs(rows)
