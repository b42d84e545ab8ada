"""Drawing tokens: the distribution, the filters, the noise."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentenv_tiny import SamplingParameters
from agentenv_tiny.sampling import BatchSampler, filter_logits, uniform_noise

LOGITS = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))


def draw_many(count: int, **parameters: Any) -> tuple[list[int], list[float]]:
    sampler = BatchSampler([SamplingParameters(**parameters)] * count, list(range(count)))
    draw = sampler.draw(LOGITS.expand(count, 4), [0] * count)
    return draw.token_ids, draw.logprobs


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_k": 3, "top_p": 0.7}, [4 / 7, 3 / 7, 0, 0]),
    ],
)
def test_frequencies_and_logprobs_are_those_of_the_sampling_distribution(
    parameters: dict[str, float], expected: list[float]
) -> None:
    # Worked by hand. Temperature 0.5 squares: 16, 9, 4, 1 of 30. top_p 0.75: 0.4 + 0.3 < 0.75, so three stay.
    # top_k 3 leaves 4/9, 3/9, 2/9; top_p 0.7 of that keeps two, since 4/9 + 3/9 = 0.78.
    count = 20_000
    token_ids, logprobs = draw_many(count, **parameters)
    counts = [token_ids.count(token) for token in range(4)]
    chi_square = sum((n - count * p) ** 2 / (count * p) for n, p in zip(counts, expected, strict=True) if p)
    assert chi_square < 16.27, "the 0.1 % point of chi-square with three degrees of freedom"
    assert [n for n, p in zip(counts, expected, strict=True) if p == 0] == [0] * expected.count(0)
    for token_id, logprob in zip(token_ids[:100], logprobs[:100], strict=True):
        assert logprob == pytest.approx(math.log(expected[token_id]), abs=1e-5)


def test_greedy_takes_the_likeliest_token_and_reports_the_models_own_logprob() -> None:
    token_ids, logprobs = draw_many(3, temperature=0.0)
    assert token_ids == [0, 0, 0]
    assert logprobs == pytest.approx([math.log(0.4)] * 3, abs=1e-6)


def test_a_row_draws_the_same_whatever_rows_stand_beside_it() -> None:
    mixed = [SamplingParameters(top_k=2), SamplingParameters(temperature=0.0), SamplingParameters(top_logprobs=2)]
    together = BatchSampler(mixed, [5, 6, 7]).draw(LOGITS.expand(3, 4), [0, 3, 9])
    for row, (parameters, seed, counter) in enumerate(zip(mixed, (5, 6, 7), (0, 3, 9), strict=True)):
        alone = BatchSampler([parameters], [seed]).draw(LOGITS[None], [counter])
        assert alone.token_ids[0] == together.token_ids[row]
        assert alone.logprobs[0] == pytest.approx(together.logprobs[row], abs=1e-6)


def test_alternatives_are_the_likeliest_tokens_in_order() -> None:
    draw = BatchSampler([SamplingParameters(top_logprobs=2)], [0]).draw(LOGITS[None], [0])
    assert draw.top_logprobs is not None
    assert [token for token, _ in draw.top_logprobs[0]] == [0, 1]
    assert [value for _, value in draw.top_logprobs[0]] == pytest.approx([math.log(0.4), math.log(0.3)], abs=1e-6)


@given(
    logits=st.lists(st.floats(-20, 20), min_size=2, max_size=12),
    top_k=st.integers(-1, 15),
    top_p=st.floats(0.01, 1.0),
)
def test_filters_always_keep_the_likeliest_token_and_the_smallest_sufficient_set(
    logits: list[float], top_k: int, top_p: float
) -> None:
    row = torch.tensor([logits])
    kept = torch.isfinite(filter_logits(row, [top_k], torch.tensor([top_p])))[0]
    assert kept[row[0].argmax()]
    if top_k > 0:
        assert int(kept.sum()) <= top_k
    assert row[0][kept].min() >= row[0][~kept].max() if not bool(kept.all()) else True


@given(seed=st.integers(0, 2**64 - 1), counter=st.integers(0, 2**20))
def test_noise_lies_strictly_inside_the_unit_interval_and_depends_on_nothing_else(seed: int, counter: int) -> None:
    seeds, counters = numpy.array([seed], dtype=numpy.uint64), numpy.array([counter], dtype=numpy.uint64)
    first, again = uniform_noise(seeds, counters)[0], uniform_noise(seeds, counters)[0]
    assert 0.0 < first < 1.0
    assert first == again


def test_noise_is_even_over_seeds_and_over_counters() -> None:
    count = numpy.arange(40_000, dtype=numpy.uint64)
    fixed = numpy.zeros_like(count)
    for noise in (uniform_noise(count, fixed), uniform_noise(fixed, count)):
        cells = numpy.bincount((noise * 20).astype(int), minlength=20)
        assert ((cells - 2000) ** 2 / 2000).sum() < 43.8, "the 0.1 % point of chi-square with 19 degrees of freedom"
        assert abs(numpy.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_tokens", 0), ("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf)),
        *(("top_p", 0.0), ("top_p", 1.1), ("top_k", -2), ("top_logprobs", 21), ("stop", ("",))),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        SamplingParameters(**{name: value})  # type: ignore[arg-type]
