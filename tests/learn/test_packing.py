"""Packed rows: nothing is filled up, no row sees another, and loss and gradient are those of padded rows."""

from __future__ import annotations

import random
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from agentenv.errors import ConfigError  # noqa: E402
from agentenv.learn.batches import micro_batches, pack  # noqa: E402
from agentenv.learn.config import Batching  # noqa: E402
from agentenv.learn.model import Forward  # noqa: E402
from tests.learn.build import VOCABULARY, gradient_of, logprobs_of, random_rows, row, tiny_model, trainer  # noqa: E402


def tiny_qwen() -> Any:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes, **heads, initializer_range=0.3))


MODELS = {"llama": tiny_model, "qwen": tiny_qwen}


def test_rows_lie_end_to_end_with_positions_of_their_own() -> None:
    batch = pack([row([5, 6, 7], [1]), row([1, 2, 3, 4], [2, 3])])
    assert batch.inputs.ids.tolist() == [[5, 6, 1, 2, 3, 4]]
    assert batch.inputs.position_ids.tolist() == [[0, 1, 0, 1, 2, 3]]
    assert batch.inputs.predictors.tolist() == [0, 3, 4]
    assert batch.targets.tolist() == [6, 3, 4]
    assert batch.sequences.tolist() == [0, 1, 1]
    assert batch.padding == 0


@given(st.integers(1, 20), st.integers(1, 200), st.integers(0, 5))
def test_every_row_is_in_one_packed_batch_within_the_budget(count: int, budget: int, seed: int) -> None:
    rows = random_rows(count, seed)
    batches = micro_batches(rows, budget, Batching.PACKED)
    assert sorted(id(one) for batch in batches for one in batch.rows) == sorted(map(id, rows))
    for batch in batches:
        assert batch.inputs.ids.numel() <= budget or len(batch.rows) == 1
        assert batch.padding == 0


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 100))
def test_logits_of_packed_rows_equal_those_of_each_row_alone(name: str, seed: int) -> None:
    model = MODELS[name]()
    rows = random_rows(5, seed)
    batch = pack(rows)
    with torch.no_grad():
        logits = Forward(model)(batch.inputs).logits
    found = torch.log_softmax(logits, dim=-1).gather(1, batch.targets[:, None])[:, 0]
    alone = [logprobs_of(model, one.ids.tolist(), numpy.nonzero(one.mask)[0].tolist()) for one in rows]
    assert found.tolist() == pytest.approx(numpy.concatenate(alone).tolist(), abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tokens_per_microbatch", [1, 60, 10_000])
def test_loss_and_gradient_are_those_of_padded_rows_and_of_row_by_row(name: str, tokens_per_microbatch: int) -> None:
    rows = random_rows(9, model=MODELS[name]())
    padded = gradient_of(MODELS[name](), rows, batching="padded", tokens_per_microbatch=200)
    packed = gradient_of(MODELS[name](), rows, batching="packed", tokens_per_microbatch=tokens_per_microbatch)
    assert packed.loss == pytest.approx(padded.loss, rel=1e-5)
    assert ((packed.gradient - padded.gradient).norm() / padded.gradient.norm()).item() < 1e-5


def test_scores_of_packed_rows_are_those_of_padded_ones() -> None:
    rows = random_rows(7)
    padded, packed = (
        trainer(tiny_model(), batching=batching, tokens_per_microbatch=50).logprobs(rows) for batching in Batching
    )
    for ours, theirs in zip(packed, padded, strict=True):
        assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-5)


def test_the_share_of_padding_is_reported() -> None:
    rows = [row([1] * length, [length - 1], name=str(length)) for length in (4, 10)]
    shares = [
        trainer(tiny_model(), minibatches=1, batching=batching).update(rows, random.Random(0)).padding
        for batching in ("padded", "packed")
    ]
    assert shares == [pytest.approx(6 / 20), 0.0]


def test_a_model_that_mixes_packed_rows_up_is_refused() -> None:
    model = tiny_model()
    plain = model.base_model.forward
    model.base_model.forward = lambda position_ids=None, **inputs: plain(**inputs)
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM does not tell packed rows apart.*'padded'"):
        trainer(model, batching="packed")
