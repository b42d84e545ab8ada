"""The policy on the real vLLM: what it samples, token for token, and what becomes of it when the engine dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import torch

from agentenv.episode import Episode
from agentenv.errors import ModelError
from agentenv.evaluate.runner import draw_tasks
from agentenv.learn.config import LearnerConfig, TrainConfig, WarmupConfig
from agentenv.learn.warmup import warm_up
from agentenv.messages import user
from agentenv.outcome import Status
from agentenv.policy.contract import Sampling, Session
from agentenv.registry import EnvSpec, spec
from agentenv.rollout import RolloutConfig, RolloutEngine, group_requests
from agentenv.tokens import TokenRecord, VersionSpan
from agentenv_tiny import load_policy
from agentenv_vllm.errors import ServerDiedError, ServerError
from agentenv_vllm.policy import VLLMPolicy, VLLMSettings
from tests.support.real_vllm import RealVLLM
from tests.vllm.support import alive, descendants

ENDLESS = Sampling(temperature=1.0, max_tokens=400, extra={"ignore_eos": True})


@pytest.fixture
async def policy(real_vllm: RealVLLM) -> AsyncIterator[VLLMPolicy]:
    async with VLLMPolicy(real_vllm.base_url) as opened:
        yield opened


@pytest.fixture
async def impatient(real_vllm: RealVLLM) -> AsyncIterator[VLLMPolicy]:
    async with VLLMPolicy(real_vllm.base_url, VLLMSettings(hang_seconds=6.0)) as opened:
        yield opened


def calculator() -> EnvSpec:
    return spec("calculator-v0").with_kwargs(level=(1, 1), operand_max=20)


async def taught(folder: Path) -> torch.nn.Module:
    """The folder's model after a short imitation, so that it calls the tool and episodes have several turns."""
    model = load_policy(folder).model
    demonstrator = WarmupConfig(demonstrator="oracle", demonstrations=200, steps=60, rows_per_step=16, lr=3e-3)
    config = TrainConfig(environment="calculator-v0", learner=LearnerConfig(threads=1))
    await warm_up(model, folder, calculator(), config, demonstrator, lambda step: None)
    return model.eval()


async def play(policy: VLLMPolicy, temperature: float) -> list[Episode]:
    tasks = await draw_tasks(calculator(), split="train", count=4, seed=3)
    sampling = Sampling(temperature=temperature, max_tokens=40, seed=1, tokens=True)
    async with RolloutEngine(policy, RolloutConfig(max_concurrent=4)) as engine:
        return await engine.collect(list(group_requests(calculator(), tasks, seed=0, sampling=sampling)))


def logits_of(model: torch.nn.Module, record: TokenRecord) -> torch.Tensor:
    """What transformers computes for the sampled positions, shape [S, vocabulary]."""
    ids = torch.tensor([record.prompt_ids + record.sampled_ids])
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids).logits[0]
    return logits[len(record.prompt_ids) - 1 : -1]


def records_of(episodes: list[Episode]) -> list[TokenRecord]:
    assert [episode.status for episode in episodes] == [Status.OK] * len(episodes)
    records = [turn.action.tokens for episode in episodes for turn in episode.turns]
    assert all(record is not None for record in records)
    return [record for record in records if record is not None]


async def test_episodes_are_recorded_as_transformers_computes_them_before_and_after_an_update(
    real_vllm: RealVLLM, policy: VLLMPolicy
) -> None:
    assert policy.model_folder == real_vllm.folder
    untaught = load_policy(real_vllm.folder).model.eval()
    model = await taught(real_vllm.folder)
    await play_and_compare(policy, untaught, version=0)
    await policy.publish(model.state_dict(), 1)
    assert policy.version == 1
    episodes = await play_and_compare(policy, model, version=1)
    assert any(len(episode.turns) > 1 for episode in episodes)


async def play_and_compare(policy: VLLMPolicy, model: torch.nn.Module, *, version: int) -> list[Episode]:
    """Greedy tokens are equal, and logprobs to within 1e-5, at temperature 0 and at 0.7."""
    greedy = await play(policy, 0.0)
    for record in records_of(greedy):
        logits = logits_of(model, record)
        assert tuple(logits.argmax(-1).tolist()) == record.sampled_ids
        compare_logprobs(logits.log_softmax(-1), record, version)
    for record in records_of(await play(policy, 0.7)):
        compare_logprobs((logits_of(model, record) / 0.7).log_softmax(-1), record, version)
    return greedy


def compare_logprobs(logprobs: torch.Tensor, record: TokenRecord, version: int) -> None:
    sampled = torch.tensor(record.sampled_ids)
    expected = logprobs.gather(-1, sampled[:, None])[:, 0]
    assert torch.tensor(record.logprobs) == pytest.approx(expected, abs=1e-5)
    assert record.versions == (VersionSpan(version, 0, len(record.sampled_ids)),)


async def test_more_long_prompts_with_seeds_than_fit_a_step_are_all_answered(policy: VLLMPolicy) -> None:
    # A CPU build read in parts what did not fit, and its engine died of the seed. 48 · 400 tokens never fit.
    asked = [
        policy.complete([user("a" * 390 + str(number))], (), Sampling(max_tokens=2, seed=7), _session(number))
        for number in range(48)
    ]
    answered = await asyncio.gather(*asked)
    assert min(completion.usage.prompt_tokens for completion in answered) > 390


async def test_a_request_during_which_weights_are_replaced_is_never_stamped_with_both(
    policy: VLLMPolicy, real_vllm: RealVLLM
) -> None:
    weights = load_policy(real_vllm.folder).model.state_dict()
    await policy.publish(weights, 1)
    asked = [
        asyncio.create_task(policy.complete([user(f"count {number}")], (), _tokens(ENDLESS), _session(number)))
        for number in range(8)
    ]
    for version in range(2, 5):
        await policy.publish(_shifted(weights, version), version)
    spans = [completion.tokens.versions for completion in await asyncio.gather(*asked) if completion.tokens]
    assert len(spans) == 8
    assert all(len(each) == 1 and each[0].version in range(1, 5) for each in spans)


def _shifted(weights: Mapping[str, torch.Tensor], version: int) -> dict[str, torch.Tensor]:
    return {name: tensor + 1e-3 * version for name, tensor in weights.items()}


def _tokens(sampling: Sampling) -> Sampling:
    return Sampling(sampling.temperature, max_tokens=sampling.max_tokens, extra=sampling.extra, tokens=True)


def _session(number: int) -> Session:
    return Session(str(number), seed=number)


async def test_a_paused_server_is_an_error_that_says_how_to_go_on(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        await api.pause()
    async with VLLMPolicy(real_vllm.base_url) as policy:
        with pytest.raises(ServerError, match=r"is paused, .* curl -X POST .*/resume"):
            await policy.complete([user("hi")], (), Sampling(), _session(0))


async def test_training_takes_a_paused_server_over(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        await api.pause()
    async with VLLMPolicy(real_vllm.base_url) as policy:
        await policy.publish(load_policy(real_vllm.folder).model.state_dict(), 3)
        completion = await policy.complete([user("hi")], (), _tokens(Sampling(max_tokens=4)), _session(0))
    assert completion.tokens is not None
    assert completion.tokens.versions[0].version == 3


async def test_an_engine_that_hangs_fails_what_is_in_flight(doomed_vllm: RealVLLM, impatient: VLLMPolicy) -> None:
    engines = engine_processes(doomed_vllm)
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(ServerDiedError, match="hangs"):
                await impatient.complete([user("hi")], (), ENDLESS, _session(0))
    finally:
        for pid in engines:
            os.kill(pid, signal.SIGCONT)


async def test_an_engine_that_dies_fails_what_is_in_flight_and_nothing_of_the_server_is_left(
    doomed_vllm: RealVLLM, impatient: VLLMPolicy
) -> None:
    everything = descendants(doomed_vllm.server.supervisor_pid)
    assert len(everything) >= 3
    engines = engine_processes(doomed_vllm)
    for pid in engines:
        os.kill(pid, signal.SIGSTOP)  # so that the requests are still there when it dies
    asked = [
        asyncio.create_task(impatient.complete([user("hi")], (), ENDLESS, _session(number))) for number in range(4)
    ]
    await asyncio.sleep(0)
    for pid in engines:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in errors] == [ServerDiedError] * 4
    assert all(isinstance(error, ModelError) for error in errors)
    await asyncio.to_thread(doomed_vllm.stop)
    assert not any(map(alive, everything))


def engine_processes(vllm: RealVLLM) -> list[int]:
    """The engine and its worker: everything below the head process but Python's resource tracker."""
    assert vllm.server.pid is not None
    everything = descendants(vllm.server.pid)
    found = [pid for pid in everything if b"VLLM::" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert found
    return found
