"""The continuous-batching sampler, held against transformers' own forward and generate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import torch

from agentenv_tiny import (
    ContextLengthError,
    Engine,
    EngineStoppedError,
    FinishReason,
    Generation,
    SamplingParameters,
    TinyPolicy,
    VersionSpan,
    WeightsError,
    forward,
)
from agentenv_tiny.vocabulary import Vocabulary

MakeEngine = Callable[..., Engine]
Reference = Callable[[TinyPolicy, list[int], list[int]], Any]


@pytest.fixture
def prompts(vocabulary: Vocabulary) -> list[list[int]]:
    """Prompts of many lengths."""
    questions = ("7", "12 times 34", "12 times 34, then minus 5", "What is the answer?", "one two three four five six")
    return [vocabulary.encode(f"<|user|>{question}<|end|><|assistant|>") for question in questions]


def sampled(seed: int, **options: Any) -> SamplingParameters:
    return SamplingParameters(**{"max_tokens": 24, "ignore_eos": True, "seed": seed, **options})


async def test_greedy_tokens_equal_those_of_transformers_generate(
    policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    answers = await asyncio.gather(*(engine.generate(prompt, sampled(0, temperature=0.0)) for prompt in prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        expected = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, eos_token_id=None
        )[0, len(prompt) :]
        assert list(answer.token_ids) == expected.tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.6])
async def test_logprobs_equal_those_of_the_sampling_distribution_by_transformers_forward(
    policy: TinyPolicy,
    make_engine: MakeEngine,
    prompts: list[list[int]],
    reference_logprobs: Reference,
    temperature: float,
) -> None:
    engine = make_engine()
    answers = await asyncio.gather(
        *(engine.generate(prompt, sampled(3, temperature=temperature)) for prompt in prompts * 3)
    )
    for prompt, answer in zip(prompts * 3, answers, strict=True):
        token_ids = list(answer.token_ids)
        expected = (reference_logprobs(policy, prompt, token_ids) / temperature).log_softmax(-1)
        picked = expected.gather(1, torch.tensor(token_ids)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(answer.logprobs), picked, atol=1e-4)


async def test_an_answer_does_not_depend_on_the_company_it_is_sampled_in(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine(slots=16)
    requests = [
        (prompts[index % len(prompts)], sampled(index % 7, max_tokens=3 + 5 * (index % 4), top_k=(index % 3) * 20))
        for index in range(40)
    ]
    together = await asyncio.gather(*(engine.generate(*request) for request in requests))
    for request, crowd in zip(requests, together, strict=True):
        alone = await engine.generate(*request)
        assert alone.token_ids == crowd.token_ids
        assert alone.logprobs == pytest.approx(crowd.logprobs, abs=1e-4)


async def test_one_long_prompt_among_short_ones_is_run_apart_and_changes_nothing(
    policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    crowd = [prompts[0] * 15, *prompts, prompts[1] * 9]
    together = await asyncio.gather(*(engine.generate(prompt, sampled(1)) for prompt in crowd))
    monkeypatch.setattr(forward, "PADDED_SCORES", 1)  # every chunk alone
    apart = await asyncio.gather(*(engine.generate(prompt, sampled(1)) for prompt in crowd))
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in apart]


async def test_a_seed_repeats_an_answer_and_another_seed_gives_another(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    first, again, other = [await engine.generate(prompts[0], sampled(seed)) for seed in (1, 1, 2)]
    assert first.token_ids == again.token_ids
    assert first.token_ids != other.token_ids


async def test_requests_without_a_seed_differ_from_each_other(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    parameters = SamplingParameters(max_tokens=24, ignore_eos=True)
    answers = await asyncio.gather(*(engine.generate(prompts[0], parameters) for _ in range(8)))
    assert len({answer.token_ids for answer in answers}) == 8


async def test_an_answer_ends_at_the_end_token_at_the_limit_or_at_a_stop_string(
    make_engine: MakeEngine, prompts: list[list[int]], vocabulary: Vocabulary
) -> None:
    free = await make_engine().generate(prompts[1], sampled(5))
    assert free.finish_reason is FinishReason.LENGTH
    end_id = next(token for index, token in enumerate(free.token_ids) if index > 3)
    first = free.token_ids.index(end_id)
    ended = await make_engine(end_id=end_id).generate(prompts[1], sampled(5, ignore_eos=False))
    assert ended.finish_reason is FinishReason.STOP
    assert ended.token_ids == free.token_ids[: first + 1]

    visible = [index for index, token in enumerate(free.token_ids) if vocabulary.decode([token]).isascii()]
    texts = [vocabulary.decode([token]) for token in free.token_ids]
    stop = next(text for index, text in enumerate(texts) if index in visible and text)
    stopped = await make_engine().generate(prompts[1], sampled(5, stop=(stop,)))
    assert stopped.finish_reason is FinishReason.STOP
    assert stop in vocabulary.decode(stopped.token_ids)
    assert stop not in vocabulary.decode(stopped.token_ids[:-1])


async def test_more_requests_than_slots_are_all_answered(make_engine: MakeEngine, prompts: list[list[int]]) -> None:
    engine = make_engine(slots=3)
    answers = await asyncio.gather(*(engine.generate(prompts[seed % 5], sampled(seed)) for seed in range(30)))
    assert [len(answer.token_ids) for answer in answers] == [24] * 30
    assert engine.statistics().running == engine.statistics().waiting == 0


async def test_aborting_frees_the_slot_and_hands_over_the_partial_answer(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine(slots=1)
    answers: asyncio.Queue[Generation] = asyncio.Queue()
    long = engine.submit(prompts[0], sampled(1, max_tokens=150), answers)
    await answers.get()
    engine.abort(long)
    while (partial := await answers.get()).finish_reason is None:
        pass
    assert partial.finish_reason is FinishReason.ABORT
    assert 0 < len(partial.token_ids) < 150
    after = await engine.generate(prompts[0], sampled(1, max_tokens=150))
    assert after.token_ids[: len(partial.token_ids)] == partial.token_ids


async def test_cancelling_a_call_frees_the_slot_of_a_running_and_of_a_waiting_request(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine(slots=1)
    running, waiting = (
        asyncio.create_task(engine.generate(prompts[0], sampled(seed, max_tokens=180))) for seed in (1, 2)
    )
    await asyncio.sleep(0)  # both tasks take their first step, which submits
    running.cancel()
    waiting.cancel()
    assert await asyncio.gather(running, waiting, return_exceptions=True)
    answer = await engine.generate(prompts[0], sampled(3, max_tokens=4))
    assert len(answer.token_ids) == 4
    assert engine.statistics().sampled_tokens < 360


async def test_leaving_a_stream_aborts_its_request(make_engine: MakeEngine, prompts: list[list[int]]) -> None:
    engine = make_engine(slots=1)
    stream = engine.stream(prompts[0], sampled(1, max_tokens=150))
    async for growing in stream:
        assert len(growing.token_ids) >= 1
        break
    await stream.aclose()  # type: ignore[attr-defined]
    answer = await engine.generate(prompts[1], sampled(3, max_tokens=4))
    assert len(answer.token_ids) == 4


async def test_new_weights_stamp_later_tokens_whose_logprobs_are_those_of_the_new_model(
    policy: TinyPolicy,
    other_policy: TinyPolicy,
    make_engine: MakeEngine,
    prompts: list[list[int]],
    reference_logprobs: Reference,
) -> None:
    engine = make_engine(version=10)
    swapped = False
    async for growing in engine.stream(prompts[2], sampled(1, max_tokens=150)):
        if len(growing.token_ids) >= 3 and not swapped:
            swapped = True
            await asyncio.wrap_future(engine.load_weights(other_policy.model.state_dict(), 11))
    change = growing.versions[0].end
    assert growing.versions == (VersionSpan(10, 0, change), VersionSpan(11, change, 150))
    assert 3 <= change < 150
    token_ids = list(growing.token_ids)
    picks = torch.tensor(token_ids)[:, None]
    old, new = (
        reference_logprobs(model, prompts[2], token_ids).gather(1, picks)[:, 0] for model in (policy, other_policy)
    )
    found = torch.tensor(growing.logprobs)
    assert torch.allclose(found[:change], old[:change], atol=1e-4)
    assert torch.allclose(found[change:], new[change:], atol=1e-4)


async def test_an_update_whose_caller_gave_up_neither_kills_the_engine_nor_blocks_the_next(
    other_policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    for version in range(20):
        engine.load_weights(other_policy.model.state_dict(), version).cancel()
    await asyncio.wrap_future(engine.load_weights(other_policy.model.state_dict(), 99))
    answer = await engine.generate(prompts[0], sampled(1, max_tokens=5))
    assert answer.versions == (VersionSpan(99, 0, 5),)


async def test_weights_are_copied_so_that_training_may_go_on(
    other_policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    state = {name: tensor.clone() for name, tensor in other_policy.model.state_dict().items()}
    await asyncio.wrap_future(engine.load_weights(state, 1))
    before = await engine.generate(prompts[0], sampled(1))
    for tensor in state.values():
        tensor.zero_()
    assert (await engine.generate(prompts[0], sampled(1))).token_ids == before.token_ids


@pytest.mark.parametrize("fault", ["missing", "shape", "nan"])
async def test_weights_that_do_not_fit_are_refused_and_the_old_ones_serve_on(
    policy: TinyPolicy, other_policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]], fault: str
) -> None:
    engine = make_engine(version=5)
    expected = await engine.generate(prompts[0], sampled(1))
    state = dict(other_policy.model.state_dict())
    name = "model.layers.1.mlp.up_proj.weight"
    if fault == "missing":
        del state[name]
    else:
        state[name] = state[name][:-1] if fault == "shape" else torch.full_like(state[name], torch.nan)
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        engine.load_weights(state, 6)
    answer = await engine.generate(prompts[0], sampled(1))
    assert (answer.token_ids, engine.version) == (expected.token_ids, 5)


async def test_the_next_turn_reuses_the_last_one_and_samples_the_same_tokens(
    make_engine: MakeEngine, prompts: list[list[int]], vocabulary: Vocabulary
) -> None:
    free = await make_engine().generate(prompts[1], sampled(5))
    end_id = free.token_ids[9]
    reusing, forgetful = make_engine(end_id=end_id), make_engine(end_id=end_id, reuse_prefixes=False)
    turns = []
    for engine in (reusing, forgetful):
        first = await engine.generate(prompts[1], sampled(5, ignore_eos=False))
        longer = [*prompts[1], *first.token_ids, *vocabulary.encode("<|tool|>408<|end|><|assistant|>")]
        turns.append(await engine.generate(longer, sampled(6)))
    assert turns[0].token_ids == turns[1].token_ids
    assert turns[0].logprobs == pytest.approx(turns[1].logprobs, abs=1e-4)
    assert reusing.statistics().reused_tokens >= len(prompts[1])
    assert forgetful.statistics().reused_tokens == 0


async def test_new_weights_empty_the_prefix_cache(
    other_policy: TinyPolicy, make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    free = await make_engine().generate(prompts[1], sampled(5))
    engine = make_engine(end_id=free.token_ids[9])
    first = await engine.generate(prompts[1], sampled(5, ignore_eos=False))
    await asyncio.wrap_future(engine.load_weights(other_policy.model.state_dict(), 1))
    await engine.generate([*prompts[1], *first.token_ids, 7], sampled(6))
    assert engine.statistics().reused_tokens == 0


async def test_what_the_context_cannot_hold_is_refused_before_sampling(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine()
    with pytest.raises(ContextLengthError, match="maximum context length is 192"):
        await engine.generate(prompts[0], sampled(0, max_tokens=192))
    full = await engine.generate(prompts[0], sampled(0, max_tokens=192 - len(prompts[0])))
    assert len(full.token_ids) == 192 - len(prompts[0])
    for wrong in ([], [512], [-1]):
        with pytest.raises(ValueError, match="prompt"):
            await engine.generate(wrong, sampled(0))


@pytest.mark.parametrize("part", ["prefill", "decode"])
async def test_a_fault_in_the_thread_reaches_every_waiting_call_and_ends_the_engine(
    make_engine: MakeEngine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    engine = make_engine(slots=1)

    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(engine._batch.decoder, part, broken)
    answers = await asyncio.gather(
        *(engine.generate(prompts[0], sampled(seed)) for seed in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [EngineStoppedError] * 3
    assert "no room" in str(answers[0])
    assert not engine.alive
    with pytest.raises(EngineStoppedError):
        await engine.generate(prompts[0], sampled(0))


async def test_stopping_fails_the_calls_in_flight_and_may_be_repeated(
    make_engine: MakeEngine, prompts: list[list[int]]
) -> None:
    engine = make_engine(slots=1)
    calls = [asyncio.create_task(engine.generate(prompts[0], sampled(seed, max_tokens=180))) for seed in range(20)]
    await asyncio.sleep(0)  # the tasks submit
    engine.stop()
    engine.stop()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[-1], EngineStoppedError)
    with pytest.raises(EngineStoppedError):
        await engine.generate(prompts[0], sampled(0))
