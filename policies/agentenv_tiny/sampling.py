"""Drawing the next token of every sequence of a batch, with noise that belongs to the request and not to the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How one request is sampled; the names and meanings are vLLM's.

    `temperature` 0 (below 1e-5) is greedy. `top_k` 0 or -1 and `top_p` 1 switch the filters off. `seed` fixes the
    request's noise: the same prompt, weights, parameters and seed give the same tokens in whatever company (up to
    rounding of the last bit, which matrix products of different height may give); None lets the engine draw one.
    `top_logprobs` is the number of most likely alternatives reported beside each sampled token, and `ranks` asks for
    the sampled token's own place among all. `ignore_eos` samples on to `max_tokens`; `stop_token_ids` end the answer as
    the end token does.
    Raises ValueError, naming the parameter, for values out of range.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_logprobs: int = 0
    ignore_eos: bool = False
    stop_token_ids: tuple[int, ...] = ()
    ranks: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise ValueError(f"temperature must be a finite number of at least 0, not {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must lie in (0, 1], not {self.top_p}")
        if self.top_k < -1:
            raise ValueError(f"top_k must be -1 or 0 (off) or a positive number, not {self.top_k}")
        if not 0 <= self.top_logprobs <= 20:
            raise ValueError(f"top_logprobs must lie in 0..20, not {self.top_logprobs}")
        if not all(text and text.encode(errors="ignore").decode() == text for text in self.stop):
            raise ValueError("stop must not hold empty strings or lone surrogates")

    @property
    def greedy(self) -> bool:
        """Temperature 0, or so small that dividing by it would overflow (vLLM's limit)."""
        return self.temperature < 1e-5

    @property
    def filters(self) -> bool:
        """Whether top-k or top-p removes anything."""
        return not self.greedy and (self.top_p < 1.0 or self.top_k > 0)


@dataclass(frozen=True, slots=True)
class Draw:
    """One token for each row: its id, its log-probability under the reported distribution, and the alternatives.

    `ranks[row]` counts the tokens at least as likely as the sampled one: 1 is the likeliest.
    """

    token_ids: list[int]
    logprobs: list[float]
    top_logprobs: list[list[tuple[int, float]]] | None
    ranks: list[int] | None = None


class BatchSampler:
    """The parameters of the rows of one batch as tensors, made once for each composition of the batch.

    Reported is the distribution that was sampled from, or with `raw_logprobs` the model's own, before temperature,
    top-k and top-p (vLLM's `--logprobs-mode raw_logprobs`).
    """

    def __init__(
        self, parameters: Sequence[SamplingParameters], seeds: Sequence[int], *, raw_logprobs: bool = False
    ) -> None:
        self._raw = raw_logprobs
        self._seeds = numpy.array([seed & _MASK for seed in seeds], dtype=numpy.uint64)
        greedy = [each.greedy for each in parameters]
        self._greedy = torch.tensor(greedy)
        self._any_greedy = any(greedy)
        # Greedy rows report the untempered distribution, as vLLM does: log 1 = 0 for every token would tell nothing.
        scales = [1.0 if each.greedy else 1.0 / each.temperature for each in parameters]
        self._scales = None if set(scales) <= {1.0} else torch.tensor(scales)[:, None]
        self._filtered = [index for index, each in enumerate(parameters) if each.filters]
        self._top_p = torch.tensor([parameters[index].top_p for index in self._filtered])
        self._top_k = [parameters[index].top_k for index in self._filtered]
        self._alternatives = max((each.top_logprobs for each in parameters), default=0)
        self._ranks = any(each.ranks for each in parameters)

    @torch.inference_mode()
    def draw(self, logits: torch.Tensor, counters: Sequence[int]) -> Draw:
        """Sample from `logits` [rows, vocabulary]; `counters` numbers the draws of each row's request from 0."""
        original = logits
        if self._scales is not None:
            logits = logits * self._scales
        if self._filtered:
            logits = logits.clone()
            logits[self._filtered] = filter_logits(logits[self._filtered], self._top_k, self._top_p)
        logprobs = torch.log_softmax(logits, dim=-1)
        cumulative = logprobs.exp().cumsum(-1, dtype=torch.float64)
        noise = torch.from_numpy(uniform_noise(self._seeds, numpy.array(counters, dtype=numpy.uint64)))
        targets = noise[:, None] * cumulative[:, -1:]
        # `right`: the first token whose cumulative probability exceeds the noise, so never one of probability zero.
        chosen = torch.searchsorted(cumulative, targets, right=True)
        if self._any_greedy:
            chosen = torch.where(self._greedy[:, None], logits.argmax(-1, keepdim=True), chosen)
        if self._raw:
            logprobs = torch.log_softmax(original, dim=-1)
        picked = logprobs.gather(1, chosen)
        ranks = (logprobs >= picked).sum(-1).tolist() if self._ranks else None
        top = None
        if self._alternatives:
            values, indices = logprobs.topk(min(self._alternatives, logprobs.shape[-1]), dim=-1)
            top = [list(zip(*row, strict=True)) for row in zip(indices.tolist(), values.tolist(), strict=True)]
        return Draw(chosen[:, 0].tolist(), picked[:, 0].tolist(), top, ranks)


def filter_logits(logits: torch.Tensor, top_k: Sequence[int], top_p: torch.Tensor) -> torch.Tensor:
    """Set what top-k, and then top-p of the remainder, exclude to minus infinity; the likeliest token always stays.

    `logits` [rows, vocabulary]; `top_k` (0 or -1: off) and `top_p` have one entry a row. Nucleus sampling: Holtzman et
    al. 2020, https://arxiv.org/abs/1904.09751: the smallest set whose probability reaches `top_p`.
    """
    size = logits.shape[-1]
    ordered, order = logits.sort(dim=-1, descending=True)
    keep = torch.tensor([k if 0 < k < size else size for k in top_k])[:, None]
    ordered = ordered.masked_fill(torch.arange(size) >= keep, -math.inf)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    excluded = before >= top_p[:, None]
    excluded[:, 0] = False
    ordered = ordered.masked_fill(excluded, -math.inf)
    return torch.empty_like(logits).scatter_(-1, order, ordered)


_MASK = (1 << 64) - 1
_GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)


def uniform_noise(seeds: numpy.ndarray, counters: numpy.ndarray) -> numpy.ndarray:
    """Numbers in (0, 1) made from (seed, counter) alone: two rounds of SplitMix64 (Steele, Lea, Flood 2014).

    A hash of a counter, rather than a generator with a state, is what makes a request's noise independent of the batch.
    """
    with numpy.errstate(over="ignore"):
        mixed = _mix(_mix(seeds + _GOLDEN) + (counters + numpy.uint64(1)) * _GOLDEN)
    # 32 bits, centred in their cell: in double precision the product with a cumulative sum stays below the sum.
    noise: numpy.ndarray = ((mixed >> numpy.uint64(32)).astype(numpy.float64) + 0.5) * 2.0**-32
    return noise


def _mix(state: numpy.ndarray) -> numpy.ndarray:
    state = (state ^ (state >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    mixed: numpy.ndarray = state ^ (state >> numpy.uint64(31))
    return mixed
