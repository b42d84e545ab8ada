"""From a request body to sampled answers: limits, sampling parameters, and the text with what ended it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from agentenv_tiny import FinishReason, Generation, SamplingParameters
from tests.support.fake_vllm.engines import Asked, Engines
from tests.support.fake_vllm.options import ServerOptions
from tests.support.fake_vllm.refusals import InvalidValue, Refusal
from tests.support.fake_vllm.requests import Sampling
from tests.support.fake_vllm.text import IncrementalText, TokenTexts


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice as it will be written."""

    index: int
    generation: Generation
    text: str
    finish_reason: str
    stop_reason: str | int | None


@dataclass(frozen=True, slots=True)
class Prompted:
    """A prompt with how it is to be sampled: everything that may be refused has been checked."""

    request_id: str
    model: str | None
    prompt_ids: Sequence[int]
    body: Sampling
    parameters: SamplingParameters
    skip_special_tokens: bool
    salt: str

    def asked(self, index: int) -> Asked:
        """The `index`-th answer of `n`; a seed counts up, so that the answers differ."""
        parameters = self.parameters
        if parameters.seed is not None and index:
            parameters = _with_seed(parameters, parameters.seed + index)
        return Asked(self.request_id, self.model, self.prompt_ids, parameters, self.salt)


class Answering:
    """What chat, completions and generate share."""

    def __init__(self, engines: Engines, texts: TokenTexts, options: ServerOptions) -> None:
        self.engines, self.texts, self.options = engines, texts, options

    def incremental_text(self, prompted: Prompted) -> IncrementalText:
        """The text of one answer to `prompted`, to be fed with its tokens."""
        return IncrementalText(
            self.texts,
            prompted.prompt_ids,
            skip_special_tokens=prompted.skip_special_tokens,
            stops=prompted.parameters.stop,
            include_stop=prompted.body.include_stop_str_in_output,
        )

    def ended_by_token(self, generation: Generation, prompted: Prompted) -> bool:
        """Whether the last token is one that ends answers, and did."""
        if generation.finish_reason is not FinishReason.STOP or not generation.token_ids:
            return False
        last, body = generation.token_ids[-1], prompted.body
        is_end = last == self.engines.end_id and not body.ignore_eos
        return is_end or last in prompted.parameters.stop_token_ids

    def stop_reason(self, generation: Generation, prompted: Prompted, stop: str | None) -> str | int | None:
        """The stop string or stop token; None for the end token, length and abort."""
        if stop is not None:
            return stop
        if not self.ended_by_token(generation, prompted):
            return None
        last = generation.token_ids[-1]
        return None if last == self.engines.end_id and not prompted.body.ignore_eos else last

    def read(self, generation: Generation, prompted: Prompted, index: int) -> Answer:
        """A finished generation with its text."""
        text = self.incremental_text(prompted)
        ended = self.ended_by_token(generation, prompted)
        # Token by token: a stop string must be seen before what comes after it.
        stop = None
        for position, token_id in enumerate(generation.token_ids, start=1):
            stop = text.feed([token_id], ended_by_token=ended and position == len(generation.token_ids)) or stop
        reason = generation.finish_reason or FinishReason.ABORT
        return Answer(index, generation, text.text, reason.value, self.stop_reason(generation, prompted, stop))

    def limit(self, prompt_ids: Sequence[int], wanted: int | None, *, encoded_here: bool = False) -> int:
        """Tokens that may be sampled: what is wanted, or as many as there is room for.

        Text is `encoded_here` no further than one token too many, so its real length is never known.
        """
        length, longest = len(prompt_ids), self.engines.max_model_len
        if wanted is not None and wanted > longest:
            raise InvalidValue(
                f"max_tokens={wanted} cannot be greater than max_model_len={longest}. Please request fewer output "
                "tokens.",
                "max_tokens",
                value=wanted,
            )
        if length > longest:
            shown, length = (f"at least {longest + 1}", longest + 1) if encoded_here else (str(length), length)
            raise InvalidValue(
                f"This model's maximum context length is {longest} tokens. However, your prompt contains {shown} "
                "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of "
                "the input prompt.",
                "input_tokens",
                value=length,
            )
        room = longest - length
        return room if wanted is None else min(wanted, room)

    def parameters(
        self, body: Sampling, *, limit: int, alternatives: int | None, ranks: bool = False
    ) -> SamplingParameters:
        """Checked the way vLLM checks its SamplingParams."""
        temperature = 1.0 if body.temperature is None else body.temperature
        top_p = 1.0 if body.top_p is None else body.top_p
        top_k = body.top_k or 0
        count = 1 if body.n is None else body.n
        stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
        self._check_counts(count, limit, alternatives)
        if temperature < 0:
            raise InvalidValue(
                f"temperature must be non-negative, got {temperature}.", "temperature", value=temperature
            )
        if not 0 < top_p <= 1:
            raise InvalidValue(f"top_p must be in (0, 1], got {top_p}.", "top_p", value=top_p)
        if top_k < -1:
            raise Refusal(f"top_k must be 0 (disable), or at least 1, got {top_k}.")
        if not all(stops):
            raise Refusal("stop cannot contain an empty string.")
        if temperature < 1e-5 and count > 1:
            raise Refusal(f"n must be 1 when using greedy sampling, got {count}.")
        return SamplingParameters(
            max_tokens=limit,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            stop=tuple(stops),
            seed=body.seed,
            top_logprobs=alternatives or 0,
            ignore_eos=body.ignore_eos,
            stop_token_ids=tuple(body.stop_token_ids or ()),
            ranks=ranks,
        )

    def _check_counts(self, count: int, limit: int, alternatives: int | None) -> None:
        if count < 1:
            raise Refusal(f"n must be at least 1, got {count}.")
        if limit < 1:
            raise InvalidValue(f"max_tokens must be at least 1, got {limit}.", "max_tokens", value=limit)
        asked = self.texts.size if alternatives == -1 else alternatives or 0
        if asked > self.options.max_logprobs:
            raise InvalidValue(
                f"Requested sample logprobs of {asked}, which is greater than max allowed: {self.options.max_logprobs}",
                "logprobs",
                value=asked,
            )

    def check_ids(self, prompt_ids: Sequence[int]) -> None:
        """Raises Refusal for an empty prompt or ids the model does not have."""
        if not prompt_ids:
            raise Refusal("The decoder prompt cannot be empty")
        highest = max(prompt_ids)
        if highest >= self.texts.size:
            raise Refusal(f"Token id {highest} is out of vocabulary")


def new_request_id(prefix: str, given: str | None) -> str:
    """`prefix` with the id that the client chose, or a random one."""
    return f"{prefix}-{given or uuid.uuid4().hex[:16]}"


def _with_seed(parameters: SamplingParameters, seed: int) -> SamplingParameters:
    values = {name: getattr(parameters, name) for name in SamplingParameters.__slots__}
    return SamplingParameters(**{**values, "seed": seed})
