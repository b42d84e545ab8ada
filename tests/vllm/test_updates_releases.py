"""Weight updates by what a server's release has: on the fake, by version profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentenv_tiny import TinyConfig, create_policy
from agentenv_vllm.api import PauseMode, VLLMApi
from agentenv_vllm.errors import MissingCapabilityError, WeightUpdateError
from agentenv_vllm.updates import LoRAUpdater, make_updater
from tests.support.fake_vllm import FakeVLLM
from tests.vllm.updates_lab import (
    Answer,
    Reference,
    adapter_weights,
    faulty_proxy,
    greedy,
    ignore,
    other_weights,
    refuse,
    routes_of,
    weights_of,
)

CLOSE = 1e-4
RELEASES = ("0.16", "0.21", "0.28", "0.32", "0.33")
FOUR_PHASES = ["/start_weight_update", "/update_weights", "/finish_weight_update"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "start"
    create_policy(path, TinyConfig(seed=3))
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[Answer, Answer]:
    """Greedy answers of the first weights and of those of seed 1."""
    reference = Reference(folder)
    return reference.greedy(weights_of(folder)), reference.greedy(other_weights(folder, 1))


@pytest.mark.parametrize("pause", [PauseMode.KEEP, PauseMode.ABORT])
@pytest.mark.parametrize("way", ["folder", "transfer"])
@pytest.mark.parametrize("release", RELEASES)
async def test_weights_are_replaced_with_the_routes_that_a_release_has(
    folder: Path, expected: tuple[Answer, Answer], release: str, way: str, pause: PauseMode
) -> None:
    fake = FakeVLLM(folder, profile=release, model_name="tiny", weight_transfer="file")
    async with fake as server, faulty_proxy(server.base_url) as proxy, VLLMApi(proxy.base_url) as api:
        updater = make_updater(way, api, folder, "tiny", pause)
        await updater.start(await routes_of(api))
        assert (await greedy(api)).differs_from(expected[0]) < CLOSE
        proxy.seen.clear()
        report = await updater.publish(other_weights(folder, 1), 1)
        sent = [path for path in proxy.seen if path in FOUR_PHASES]
        assert report.sends == 1
        assert sent == ([] if way == "folder" else FOUR_PHASES[1:2] if release == "0.16" else FOUR_PHASES)
        assert ("/update_weight_version" in proxy.seen) == (release in ("0.28", "0.32", "0.33"))
        assert (await greedy(api)).differs_from(expected[1]) < CLOSE
        await updater.close()


@pytest.mark.parametrize("way", ["folder", "transfer"])
@pytest.mark.parametrize("release", ["0.16", "0.21", "0.32"])
async def test_a_send_that_failed_or_did_nothing_is_repaired_in_every_release(
    folder: Path, expected: tuple[Answer, Answer], release: str, way: str
) -> None:
    fake = FakeVLLM(folder, profile=release, model_name="tiny", weight_transfer="file")
    async with fake as server, faulty_proxy(server.base_url) as proxy, VLLMApi(proxy.base_url) as api:
        updater = make_updater(way, api, folder, "tiny")
        await updater.start(await routes_of(api))
        path = "/update_weights" if way == "transfer" else "/collective_rpc"
        # A folder's server is asked twice more by that route: to take the failed update back, and for a fingerprint.
        proxy.plan(path, refuse)
        assert (await updater.publish(other_weights(folder, 2), 2)).sends == 2
        proxy.plan(path, ignore)
        assert (await updater.publish(other_weights(folder, 1), 3)).sends == 2
        assert (await greedy(api)).differs_from(expected[1]) < CLOSE
        await updater.close()


async def test_a_server_that_never_takes_an_update_is_not_served_as_if_it_had(folder: Path) -> None:
    fake = FakeVLLM(folder, profile="0.16", model_name="tiny", weight_transfer="file")
    async with fake as server, faulty_proxy(server.base_url) as proxy, VLLMApi(proxy.base_url) as api:
        updater = make_updater("transfer", api, folder, "tiny")
        await updater.start(await routes_of(api))
        proxy.always["/update_weights"] = ignore
        with pytest.raises(WeightUpdateError, match="answers exactly as before"):
            await updater.publish(other_weights(folder, 2), 2)
        assert updater.half_updated
        assert await api.is_paused()
        await updater.close()


@pytest.mark.parametrize("release", ["0.10.2", "0.12", "0.16", "0.33"])
async def test_adapters_need_no_release_newer_than_the_first(folder: Path, release: str) -> None:
    fake = FakeVLLM(folder, profile=release, model_name="tiny", enable_lora=True)
    async with fake as server, VLLMApi(server.base_url) as api:
        updater = LoRAUpdater(api, folder, "tiny")
        await updater.start(await routes_of(api))
        reference = Reference(folder)
        for version in (1, 2, 3):
            adapter, merged = adapter_weights(folder, version, updater.shape)
            await updater.publish(adapter, version)
            assert (await greedy(api, updater.model_name)).differs_from(reference.greedy(merged)) < CLOSE
        await updater.close()


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_a_release_too_old_is_told_so_at_the_start(folder: Path, way: str) -> None:
    async with FakeVLLM(folder, profile="0.12", model_name="tiny") as server, VLLMApi(server.base_url) as api:
        updater = make_updater(way, api, folder, "tiny")
        with pytest.raises(MissingCapabilityError, match=r"vLLM 0\.16 or newer"):
            await updater.start(await routes_of(api))
        await updater.close()


async def test_a_server_without_the_transfer_backend_is_told_the_flag(folder: Path) -> None:
    async with FakeVLLM(folder, profile="0.32", model_name="tiny") as server, VLLMApi(server.base_url) as api:
        updater = make_updater("transfer", api, folder, "tiny")
        with pytest.raises(MissingCapabilityError, match=r'--weight-transfer-config \'{"backend": "file"}\''):
            await updater.start(await routes_of(api))
        await updater.close()
