"""Micro-batches: nothing lost, nothing padded needlessly, an episode never split between optimizer steps."""

from __future__ import annotations

import random

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.batches import collate, micro_batches, minibatches  # noqa: E402
from agentenv.learn.model import Forward  # noqa: E402
from tests.learn.build import logprobs_of, random_rows, row, tiny_model  # noqa: E402


def test_targets_are_the_sampled_ids_and_predictors_the_positions_before_them() -> None:
    batch = collate([row([5, 6, 7], [1]), row([1, 2, 3, 4], [2, 3])])
    assert batch.ids.tolist() == [[5, 6, 0, 0], [1, 2, 3, 4]]
    assert batch.targets.tolist() == [6, 3, 4]
    assert batch.predictors.tolist() == [0, 5, 6]
    assert batch.stream(lambda one: one.behaviour_logprobs).tolist() == [-2.0] * 3


def test_what_follows_the_last_sampled_token_is_cut_off() -> None:
    assert collate([row([5, 6, 7, 8, 9], [1])]).ids.tolist() == [[5, 6]]


@given(st.integers(1, 20), st.integers(1, 200), st.integers(0, 5))
def test_every_row_is_in_one_micro_batch_within_the_budget(count: int, budget: int, seed: int) -> None:
    rows = random_rows(count, seed)
    batches = micro_batches(rows, budget)
    assert sorted(id(one) for batch in batches for one in batch.rows) == sorted(map(id, rows))
    for batch in batches:
        assert batch.ids.numel() <= budget or len(batch.rows) == 1


def test_rows_of_like_length_are_padded_together() -> None:
    rows = [row([1] * length, [length - 1]) for length in (30, 3, 29, 2)]
    assert [list(batch.ids.shape) for batch in micro_batches(rows, 60)] == [[2, 3], [2, 30]]


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 5))
def test_minibatches_partition_the_rows_and_keep_an_episodes_rows_together(count: int, parts: int, seed: int) -> None:
    rows = random_rows(count, seed)
    dealt = minibatches(rows, parts, random.Random(seed))
    assert sorted(id(one) for part in dealt for one in part) == sorted(map(id, rows))
    homes = [{one.name for one in part} for part in dealt]
    assert sum(map(len, homes)) == len({one.name for one in rows})
    assert max(map(len, homes)) - min(map(len, homes)) <= 1


@settings(max_examples=10)
@given(st.integers(0, 100))
def test_logits_at_sampled_positions_of_a_padded_batch_equal_those_of_each_row_alone(seed: int) -> None:
    model = tiny_model()
    rows = random_rows(5, seed)
    batch = collate(rows)
    with torch.no_grad():
        logits = Forward(model)(batch.ids, batch.predictors).logits
    found = torch.log_softmax(logits, dim=-1).gather(1, batch.targets[:, None])[:, 0]
    alone = [logprobs_of(model, one.ids.tolist(), numpy.nonzero(one.mask)[0].tolist()) for one in rows]
    assert found.tolist() == pytest.approx(numpy.concatenate(alone).tolist(), abs=1e-5)


def test_a_model_that_does_more_than_a_linear_head_gets_its_whole_logits() -> None:
    model = tiny_model()
    plain = model.forward

    def doubled(*args: object, **kwargs: object) -> object:
        output = plain(*args, **kwargs)
        output.logits = 2 * output.logits
        return output

    model.forward = doubled
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        found = Forward(model)(ids, torch.tensor([1])).logits
        expected = 2 * plain(input_ids=ids).logits[0, 1:2]
    assert torch.allclose(found, expected, atol=1e-6)
