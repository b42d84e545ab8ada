"""What lets the engine stand in for a vLLM server: pausing, aborting with partial tokens, serving stale keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from agentenv_tiny import Engine, FinishReason, Generation, Hold, SamplingParameters, TinyPolicy, VersionSpan
from agentenv_tiny.prefixes import BlockCache

MakeEngine = Callable[..., Engine]
Reference = Callable[[TinyPolicy, list[int], list[int]], Any]

PROMPT = list(range(20, 60))


def long_answer(**options: Any) -> SamplingParameters:
    return SamplingParameters(**{"max_tokens": 120, "temperature": 0.0, "ignore_eos": True, **options})


async def after_steps(
    engine: Engine, steps: int, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs `action` on the sampling thread when so many more steps have been sampled; returns then."""
    advance, left, happened = engine._batch.advance, iter(range(steps - 1, -1, -1)), threading.Event()

    def counted() -> None:
        advance()
        if next(left, None) == 0:
            action()
            happened.set()

    monkeypatch.setattr(engine._batch, "advance", counted)
    assert await asyncio.to_thread(happened.wait, 60)


async def test_holding_the_sampling_freezes_what_runs_and_resuming_gives_the_same_answer(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    undisturbed = await engine.generate(PROMPT, long_answer())
    running = asyncio.create_task(engine.generate(PROMPT, long_answer()))
    await after_steps(engine, 5, lambda: engine.hold(Hold.SAMPLING), monkeypatch)
    await asyncio.wrap_future(engine.stamp(0))
    sampled = engine.statistics().sampled_tokens
    waiting = asyncio.create_task(engine.generate(PROMPT, long_answer(max_tokens=2)))
    await asyncio.wrap_future(engine.stamp(0))
    assert engine.statistics().sampled_tokens == sampled
    assert not running.done()
    engine.hold(Hold.NOTHING)
    assert (await running).token_ids == undisturbed.token_ids
    assert (await waiting).token_ids == undisturbed.token_ids[:2]


async def test_holding_the_admission_lets_what_runs_finish_and_keeps_the_rest_waiting(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    running = asyncio.create_task(engine.generate(PROMPT, long_answer()))
    await after_steps(engine, 1, lambda: engine.hold(Hold.ADMISSION), monkeypatch)
    waiting = asyncio.create_task(engine.generate(PROMPT, long_answer(max_tokens=2)))
    await asyncio.wrap_future(engine.drained())
    assert (await running).finish_reason is FinishReason.LENGTH
    assert engine.statistics().waiting == 1
    engine.hold(Hold.NOTHING)
    assert len((await waiting).token_ids) == 2


async def test_aborting_all_answers_each_request_with_the_tokens_it_has(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(slots=1)
    undisturbed = await engine.generate(PROMPT, long_answer())
    running, queued = (asyncio.create_task(engine.generate(PROMPT, long_answer())) for _ in range(2))
    await after_steps(engine, 5, engine.abort_all, monkeypatch)
    first, second = await running, await queued
    assert first.finish_reason is second.finish_reason is FinishReason.ABORT
    assert first.token_ids == undisturbed.token_ids[:6]
    assert second.token_ids == ()


@pytest.mark.parametrize("temperature", [0.5, 1.0])
async def test_raw_logprobs_are_the_models_own_whatever_the_temperature(
    policy: TinyPolicy, make_engine: MakeEngine, reference_logprobs: Reference, temperature: float
) -> None:
    engine = make_engine(raw_logprobs=True)
    parameters = SamplingParameters(
        max_tokens=12, temperature=temperature, top_k=5, seed=1, ignore_eos=True, ranks=True
    )
    answer = await engine.generate(PROMPT, parameters)
    expected = reference_logprobs(policy, PROMPT, list(answer.token_ids))
    picked = expected.gather(1, torch.tensor(answer.token_ids)[:, None])
    assert list(answer.logprobs) == pytest.approx(picked[:, 0].tolist(), abs=1e-4)
    assert list(answer.ranks) == (expected >= picked).sum(-1).tolist()


async def test_a_stop_token_ends_the_answer(make_engine: MakeEngine) -> None:
    engine = make_engine()
    whole = await engine.generate(PROMPT, long_answer())
    stop = whole.token_ids[3]
    cut = await engine.generate(PROMPT, long_answer(stop_token_ids=(stop,)))
    assert cut.token_ids == whole.token_ids[: whole.token_ids.index(stop) + 1]
    assert cut.finish_reason is FinishReason.STOP


async def first_tokens(engine: Engine, salt: str = "") -> Generation:
    return await engine.generate(PROMPT, long_answer(max_tokens=6), salt=salt)


async def test_kept_keys_of_old_weights_give_tokens_of_neither_model_until_the_cache_is_emptied(
    policy: TinyPolicy, other_policy: TinyPolicy, make_engine: MakeEngine, reference_logprobs: Reference
) -> None:
    engine = make_engine(block_size=16)
    await first_tokens(engine)
    await asyncio.wrap_future(engine.load_weights(other_policy.model.state_dict(), 1, keep_cached=True))
    stale, salted = await first_tokens(engine), await first_tokens(engine, salt="1")
    assert await asyncio.wrap_future(engine.forget_prefixes())
    fresh = await first_tokens(engine)

    def exact(answer: Generation, model: TinyPolicy) -> bool:
        expected = reference_logprobs(model, PROMPT, list(answer.token_ids))
        picked = expected.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        return list(answer.logprobs) == pytest.approx(picked.tolist(), abs=1e-4)

    assert exact(fresh, other_policy)
    assert exact(salted, other_policy)
    assert not exact(stale, other_policy)
    assert not exact(stale, policy)


async def test_the_prefix_cache_is_not_emptied_under_running_requests_unless_they_compute_again(
    other_policy: TinyPolicy, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(block_size=16)
    running = asyncio.create_task(engine.generate(PROMPT, long_answer()))
    await after_steps(engine, 3, lambda: engine.hold(Hold.SAMPLING), monkeypatch)
    assert not await asyncio.wrap_future(engine.forget_prefixes())
    assert await asyncio.wrap_future(engine.forget_prefixes(of_running=True))
    await asyncio.wrap_future(engine.load_weights(other_policy.model.state_dict(), 1, keep_cached=True))
    engine.hold(Hold.NOTHING)
    answer = await running
    (_, end), (start, _) = [(span.start, span.end) for span in answer.versions]
    assert end == start
    rest = await engine.generate([*PROMPT, *answer.token_ids[:start]], long_answer(max_tokens=120 - start))
    assert answer.token_ids[start:] == rest.token_ids


async def test_a_stamp_changes_the_version_of_later_tokens_and_nothing_else(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = await first_tokens(engine)
    await asyncio.wrap_future(engine.stamp(7))
    after = await first_tokens(engine)
    assert after.token_ids == before.token_ids
    assert before.versions == (VersionSpan(0, 0, 6),)
    assert after.versions == (VersionSpan(7, 0, 6),)


def test_blocks_are_found_by_everything_before_them_and_leave_one_token_to_run() -> None:
    cache = BlockCache(size=4, capacity=12)
    cached = torch.arange(10.0).reshape(1, 1, 1, 10, 1)
    cache.store(range(10), cached)
    for prompt, expected in (([*range(10)], 8), ([*range(8)], 4), ([*range(9)], 8), ([9, *range(1, 9)], 0), ([0], 0)):
        found = cache.find(prompt)
        assert (0 if found is None else found.shape[3]) == expected
        assert found is None or found.flatten().tolist() == list(range(expected))
    assert cache.find([*range(10)], "other salt") is None
    cache.store([5] * 9, cached)  # two more blocks than fit: the oldest go
    assert cache.find([5] * 9) is not None
    assert cache.find([*range(5)]) is None
    cache.clear()
    assert cache.find([5] * 9) is None
