"""What a server says it holds is compared with a checkpoint as vLLM turns one into the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from agentenv_vllm.updates.fingerprint import Expectation, Held, expected, sha256, sums, wave

LAYER = "model.layers.0."
WEIGHTS = {
    "model.embed_tokens.weight": torch.arange(60.0).reshape(10, 6),
    LAYER + "self_attn.q_proj.weight": torch.full((4, 6), 1.0),
    LAYER + "self_attn.k_proj.weight": torch.full((2, 6), 2.0),
    LAYER + "self_attn.v_proj.weight": torch.full((2, 6), 3.0),
    LAYER + "mlp.gate_proj.weight": torch.full((5, 6), 4.0),
    LAYER + "mlp.up_proj.weight": torch.full((5, 6), 5.0),
    LAYER + "input_layernorm.weight": torch.linspace(0.1, 0.6, 6),
}
FUSED = LAYER + "self_attn.qkv_proj.weight"


def held(tensor: torch.Tensor, dtype: torch.dtype = torch.float32) -> Held:
    kept = tensor.to(dtype)
    return Held(sha256(kept), None, tuple(kept.shape), str(dtype).removeprefix("torch."))


def test_rows_of_attention_and_of_the_gate_are_joined_in_vllms_order() -> None:
    joined = expected(FUSED, WEIGHTS)
    assert joined is not None
    assert joined[:, 0].tolist() == [1, 1, 1, 1, 2, 2, 3, 3]
    gate_up = expected(LAYER + "mlp.gate_up_proj.weight", WEIGHTS)
    assert gate_up is not None
    assert gate_up[:, 0].tolist() == [4] * 5 + [5] * 5


def test_a_head_that_the_checkpoint_leaves_out_is_the_embedding() -> None:
    assert torch.equal(expected("lm_head.weight", WEIGHTS), WEIGHTS["model.embed_tokens.weight"])  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("told", [True, False])
def test_marks_are_compared_in_the_dtype_of_the_server_whether_it_tells_it_or_not(
    dtype: torch.dtype, told: bool
) -> None:
    name = LAYER + "input_layernorm.weight"
    found = {name: held(WEIGHTS[name], dtype)}
    if not told:
        found = {name: Held(found[name].mark)}
    expectation = Expectation.of(WEIGHTS, found)
    assert expectation.compare(found).right == (name,)
    assert expectation.with_dtypes(found)[name].dtype == str(dtype).removeprefix("torch.")


def test_padded_rows_of_the_vocabulary_are_zeros() -> None:
    name = "model.embed_tokens.weight"
    padded = torch.cat([WEIGHTS[name], torch.zeros(54, 6)])
    found = {name: held(padded)}
    assert Expectation.of(WEIGHTS, found).compare(found).right == (name,)


@given(name=some.sampled_from([FUSED, *WEIGHTS]), place=some.integers(0, 3), by_sums=some.booleans())
def test_one_changed_number_anywhere_is_found(name: str, place: int, by_sums: bool) -> None:
    right = expected(name, WEIGHTS)
    assert right is not None
    mark = sums if by_sums else sha256
    changed = right.clone()
    changed.view(-1)[place] += 1e-3
    before = {name: Held(mark(right), None, tuple(right.shape), "float32")}
    after = {name: Held(mark(changed), None, tuple(right.shape), "float32")}
    expectation = Expectation.of(WEIGHTS, before)
    assert expectation.compare(before).right == (name,)
    assert expectation.compare(after).wrong == (name,)


@given(row=some.integers(0, 7), share=some.floats(1e-4, 1.0))
def test_one_changed_row_of_a_packed_matrix_is_found_and_rounding_is_not(row: int, share: float) -> None:
    right = expected(FUSED, WEIGHTS)
    assert right is not None
    answer = (right.float() @ wave(6).float()).tolist()
    found = {FUSED: Held(None, tuple(answer), (0,), "float32")}
    expectation = Expectation.of(WEIGHTS, found)
    assert expectation.compare(found).right == (FUSED,)
    answer[row] *= 1 + share
    assert expectation.compare({FUSED: Held(None, tuple(answer), (0,), "float32")}).wrong == (FUSED,)


def test_what_cannot_be_compared_is_neither_right_nor_wrong() -> None:
    found = {
        "model.layers.0.mlp.experts.w13_weight": held(torch.ones(2)),
        LAYER + "input_layernorm.weight": held(torch.ones(3)),  # a shard, or another layout
        FUSED: Held(),
    }
    told = Expectation.of(WEIGHTS, found).compare(found)
    assert set(told.unknown) == set(found)


@given(some.lists(some.integers(-(2**31), 2**31 - 1), min_size=2, max_size=40))
def test_sums_tell_the_order_of_numbers(numbers: list[int]) -> None:
    tensor = torch.tensor(numbers, dtype=torch.int32)
    swapped = tensor.clone()
    swapped[0], swapped[1] = tensor[1], tensor[0]
    assert (sums(tensor) == sums(swapped)) == (numbers[0] == numbers[1])
