"""Weights of the real vLLM server are replaced while it serves, by every backend and in both pause modes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.updates import LoRAShape, LoRAUpdater, UpdateSettings, WeightUpdater, make_updater
from agentenv_vllm.updates.fingerprint import sums
from agentenv_vllm.versions import InFlight
from tests.support.real_vllm import RealVLLM
from tests.vllm.updates_lab import (
    MANY,
    Answer,
    Reference,
    State,
    adapter_weights,
    frozen,
    greedy,
    other_weights,
    routes_of,
    weights_of,
)

CLOSE = 1e-5
"""Between logprobs of vLLM and transformers with the same float32 weights."""


def reference_of(server: RealVLLM, cache: dict[str, Reference] = {}) -> Reference:  # noqa: B006
    """transformers with the server's model; made once."""
    return cache.setdefault(str(server.folder), Reference(server.folder))


@asynccontextmanager
async def started(
    server: RealVLLM, way: str, pause: PauseMode = PauseMode.KEEP
) -> AsyncIterator[tuple[VLLMApi, WeightUpdater[object]]]:
    """An updater, and the first weights again at the end."""
    async with server.api() as api:
        updater = make_updater(way, api, server.folder, server.model_name, pause)
        await updater.start(await routes_of(api))
        try:
            yield api, updater
        finally:
            if way != "lora":
                await updater.publish(weights_of(server.folder), 0)
            await updater.close()


@pytest.mark.parametrize("pause", [PauseMode.KEEP, PauseMode.ABORT])
@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_published_weights_answer_as_transformers_does_with_them(
    real_vllm: RealVLLM, way: str, pause: PauseMode
) -> None:
    expected = reference_of(real_vllm)
    async with started(real_vllm, way, pause) as (api, updater):
        first = await greedy(api)
        assert first.differs_from(expected.greedy(weights_of(real_vllm.folder))) < CLOSE
        for version in (1, 2):
            weights = other_weights(real_vllm.folder, seed=version)
            report = await updater.publish(weights, version)
            assert (report.version, report.sends, updater.version) == (version, 1, version)
            answer = await greedy(api)
            assert answer.differs_from(expected.greedy(weights)) < CLOSE
            assert answer.ids != first.ids
            assert await api.weight_version() == str(version)


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_every_parameter_is_verified_also_those_that_a_cpu_keeps_packed(real_vllm: RealVLLM, way: str) -> None:
    async with started(real_vllm, way) as (api, updater):
        report = await updater.publish(other_weights(real_vllm.folder, seed=3), 1)
        assert (report.verified, report.unverified) == (15, 0)
        (by_sums,) = await api.collective_rpc("agentenv_weight_fingerprint", kwargs={"sums": True})
        told = by_sums["model.embed_tokens.base_layer.weight"]["mark"]
        assert told == sums(other_weights(real_vllm.folder, seed=3)["model.embed_tokens.weight"])
        checksums = (await api.post("/weight_checker", {"action": "checksum"}))["checksums"]
        of_nothing = [name for name, digest in checksums.items() if digest.startswith("e3b0c44298fc1c14")]
        assert len(of_nothing) == 8, "vLLM's own checksums see the packed matrices now: rely on them"


async def test_an_adapter_answers_as_the_model_it_is_merged_into_by_hand(real_vllm: RealVLLM) -> None:
    expected = reference_of(real_vllm)
    shape = LoRAShape(rank=4, alpha=12.0, target_modules=("q_proj", "v_proj", "down_proj"))
    async with real_vllm.api() as api:
        updater = LoRAUpdater(api, real_vllm.folder, real_vllm.model_name, shape=shape)
        await updater.start(await routes_of(api))
        assert updater.model_name == real_vllm.model_name
        for version in (1, 2, 3):
            adapter, merged = adapter_weights(real_vllm.folder, version, shape)
            await updater.publish(adapter, version)
            assert updater.model_name == f"tiny-{version:08d}"
            assert (await greedy(api, updater.model_name)).differs_from(expected.greedy(merged)) < CLOSE
        base = await greedy(api)
        assert base.differs_from(expected.greedy(weights_of(real_vllm.folder))) < CLOSE
        assert [model.id for model in await api.models()] == ["tiny", "tiny-00000002", "tiny-00000003"]
        await updater.close()
        assert [model.id for model in await api.models()] == ["tiny"]


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_requests_in_flight_go_on_with_the_new_weights_and_say_from_which_token(
    real_vllm: RealVLLM, way: str
) -> None:
    expected = reference_of(real_vllm)
    async with started(real_vllm, way, PauseMode.KEEP) as (api, updater):
        assert updater.in_flight is InFlight.MIXED
        weights = other_weights(real_vllm.folder, seed=4)
        answers = await publish_in_flight(api, updater, weights)
        olds, news = (
            [expected.logprobs(state, answer) for answer in answers]
            for state in (weights_of(real_vllm.folder), weights)
        )
        for answer, old, new in zip(answers, olds, news, strict=True):
            assert (answer.finish_reason, len(answer.ids)) == ("length", MANY)
            (first, start, change), (second, again, end) = answer.versions
            assert (first, start, second, again, end) == ("0", 0, "1", change, MANY)
            assert 0 < change < MANY
            for span, by_weights in ((slice(0, change), old), (slice(change, MANY), new)):
                told = zip(answer.logprobs[span], by_weights[span], strict=True)
                assert max(abs(mine - theirs) for mine, theirs in told) < 2 * CLOSE


async def test_requests_in_flight_end_with_the_tokens_they_have_when_generation_is_aborted(
    real_vllm: RealVLLM,
) -> None:
    expected = reference_of(real_vllm)
    async with started(real_vllm, "folder", PauseMode.ABORT) as (api, updater):
        assert updater.in_flight is InFlight.ABORTED
        answers = await publish_in_flight(api, updater, other_weights(real_vllm.folder, seed=5))
        for answer in answers:
            assert answer.finish_reason == "abort"
            assert 0 < len(answer.ids) < MANY
            by_old = expected.logprobs(weights_of(real_vllm.folder), answer)
            assert max(abs(mine - theirs) for mine, theirs in zip(answer.logprobs, by_old, strict=True)) < 2 * CLOSE


async def test_requests_in_flight_are_finished_by_the_adapter_they_began_with(real_vllm: RealVLLM) -> None:
    expected = reference_of(real_vllm)
    shape = LoRAShape()
    async with started(real_vllm, "lora") as (api, updater):
        assert updater.in_flight is InFlight.UNTOUCHED
        old_adapter, old = adapter_weights(real_vllm.folder, 1, shape)
        new_adapter, new = adapter_weights(real_vllm.folder, 2, shape)
        await updater.publish(old_adapter, 1)
        async with frozen(api, updater.model_name, requests=1) as (request,):
            await updater.publish(new_adapter, 2)
            assert not request.done
            await api.resume()
            assert (await greedy(api, updater.model_name)).differs_from(expected.greedy(new)) < CLOSE
            finished = await request.finished()
        by_old = expected.logprobs(old, finished)
        assert max(abs(mine - theirs) for mine, theirs in zip(finished.logprobs, by_old, strict=True)) < 2 * CLOSE


async def test_an_adapter_replaced_under_its_name_is_put_back_by_a_request_that_was_under_way(
    real_vllm: RealVLLM,
) -> None:
    """Why adapters get a name for each version. When this fails, `load_inplace` has become usable."""
    expected = reference_of(real_vllm)
    async with real_vllm.api() as api:
        updater = LoRAUpdater(api, real_vllm.folder, real_vllm.model_name)
        old, merged_old = adapter_weights(real_vllm.folder, 1, updater.shape)
        new, _ = adapter_weights(real_vllm.folder, 2, updater.shape)
        folders = [(await updater._stage(adapter, version)).folder for version, adapter in ((1, old), (2, new))]
        await api.load_lora_adapter("one-name", str(folders[0]), load_inplace=True)
        async with frozen(api, "one-name", requests=1) as (request,):
            await api.load_lora_adapter("one-name", str(folders[1]), load_inplace=True)
            await api.reset_prefix_cache(reset_running_requests=True)
            await api.resume()
            finished = await request.finished()
        by_old = expected.logprobs(merged_old, finished)
        assert max(abs(mine - theirs) for mine, theirs in zip(finished.logprobs, by_old, strict=True)) < 2 * CLOSE
        await api.unload_lora_adapter("one-name")
        await updater.close()


async def test_without_the_reset_of_the_prefix_cache_new_weights_answer_from_old_keys_and_values(
    real_vllm: RealVLLM,
) -> None:
    """Why every update resets it, whatever the pause does of itself."""
    expected = reference_of(real_vllm)
    async with started(real_vllm, "folder") as (api, updater):
        weights = other_weights(real_vllm.folder, seed=6)
        await updater.publish(weights, 1)
        right = expected.greedy(weights)
        await updater.publish(weights_of(real_vllm.folder), 2)
        await greedy(api, tokens=1)  # leaves keys and values of the prompt
        await updater.publish(weights, 3)
        assert (await greedy(api)).differs_from(right) < CLOSE
        await updater.publish(weights_of(real_vllm.folder), 4)
        await greedy(api, tokens=1)
        folder = (await updater._stage(weights, 5)).file.parent  # type: ignore[attr-defined]
        await api.post("/pause", query={"mode": "keep", "clear_cache": "false"})
        await api.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        await api.resume()
        assert (await greedy(api)).differs_from(right) > 100 * CLOSE
        await api.reset_prefix_cache()
        assert (await greedy(api)).differs_from(right) < CLOSE


async def test_a_server_left_paused_with_other_weights_gets_those_of_the_model_folder(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        first = await greedy(api)
        async with started(real_vllm, "folder") as (_, updater):
            await updater.publish(other_weights(real_vllm.folder, seed=7), 9)
            await api.pause(PauseMode.KEEP)
            later = make_updater("transfer", api, real_vllm.folder, real_vllm.model_name)
            await later.start(await routes_of(api))
            assert not await api.is_paused()
            assert (await greedy(api)).differs_from(first) < CLOSE
            assert await api.weight_version() == "0"
            await later.close()


async def test_updates_do_not_pile_up_on_the_disk_and_keep_what_a_server_needs_to_start(
    real_vllm: RealVLLM,
) -> None:
    async with started(real_vllm, "folder") as (_, updater):
        for version in range(1, 6):
            await updater.publish(other_weights(real_vllm.folder, seed=version), version)
        root = updater._folders._root  # type: ignore[attr-defined]
        assert sorted(folder.name for folder in root.iterdir()) == ["00000004", "00000005"]
        names = {file.name for file in (root / "00000005").iterdir()}
        assert names == {file.name for file in real_vllm.folder.iterdir()}
    assert not root.exists()


async def publish_in_flight(api: VLLMApi, updater: WeightUpdater[object], weights: State) -> list[Answer]:
    """Publishes while requests are being answered, and returns what they got."""
    async with frozen(api) as requests:
        report = await updater.publish(weights, 1)
        assert report.sends == 1
        return [await request.finished() for request in requests]


def test_pausing_until_all_requests_are_done_is_refused() -> None:
    with pytest.raises(ValueError, match="longest request"):
        UpdateSettings(pause=PauseMode.WAIT)
