"""A server is asked what it can do; what is missing is one error that names every flag. Crippled servers are stubs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentenv.errors import ConfigError
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import MissingCapabilityError, ServerUnreachableError
from agentenv_vllm.options import LogprobsMode
from agentenv_vllm.probe import Mode, Probe, probe
from tests.support.real_vllm import RealVLLM
from tests.vllm.support import StubServer


async def probed(stub: StubServer, model: str | None = None) -> Probe:
    async with stub.running() as url, VLLMApi(url) as api:
        return await probe(api, model)


async def test_the_real_server_suits_every_mode(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        found = await probe(api)
    for mode in Mode:
        assert found.missing(mode) == []
    assert found.model == real_vllm.model_name
    assert found.logprobs_mode is LogprobsMode.PROCESSED_LOGPROBS
    assert found.token_ids
    assert found.tool_parser
    assert found.lora
    assert found.dev_mode
    assert found.pause_modes
    assert not found.paused
    assert found.weight_transfer == "file"
    assert found.max_model_len == 512
    assert found.template_hash is not None


async def test_a_real_server_that_was_left_paused_is_probed_without_waiting_for_an_answer(real_vllm: RealVLLM) -> None:
    async with real_vllm.api() as api:
        await api.pause()
        found = await probe(api)
    assert found.paused
    assert found.missing(Mode.FOLDER) == []  # what it says without the model is enough to begin to repair it


async def test_a_real_server_without_its_schema_is_found_out_by_asking_each_route(
    real_vllm: RealVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with real_vllm.api() as api:
        told = await probe(api)

        async def unpublished(self: VLLMApi) -> None:
            return None

        monkeypatch.setattr(VLLMApi, "openapi", unpublished)
        asked = await probe(api)
    assert asked.routes <= told.routes
    assert replace(asked, routes=told.routes) == told


@pytest.mark.parametrize("mode", LogprobsMode)
async def test_the_logprobs_mode_is_seen_in_what_the_server_answers(mode: LogprobsMode) -> None:
    found = await probed(StubServer(logprobs_mode=mode))
    assert found.logprobs_mode is mode
    assert bool(found.missing(Mode.FOLDER)) is (mode is not LogprobsMode.PROCESSED_LOGPROBS)


async def test_everything_that_is_missing_is_one_error() -> None:
    stub = StubServer(dev_mode=False, logprobs_mode=LogprobsMode.RAW_LOGPROBS, token_ids=False)
    found = await probed(stub)
    with pytest.raises(MissingCapabilityError) as caught:
        found.require(Mode.FOLDER)
    words = str(caught.value)
    assert "VLLM_SERVER_DEV_MODE=1" in words
    assert "--logprobs-mode processed_logprobs" in words
    assert "return_token_ids" in words
    found.require(Mode.EVALUATE)  # which needs none of it


async def test_adapters_need_their_flag_and_their_variable() -> None:
    with pytest.raises(MissingCapabilityError) as caught:
        (await probed(StubServer())).require(Mode.LORA)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in str(caught.value)
    assert "--enable-lora" in str(caught.value)
    assert (await probed(StubServer(lora=True))).missing(Mode.LORA) == []


async def test_the_transfer_protocol_needs_its_routes() -> None:
    with pytest.raises(MissingCapabilityError, match="/init_weight_transfer_engine"):
        (await probed(StubServer())).require(Mode.TRANSFER)


async def test_a_model_without_a_chat_template_cannot_even_be_evaluated() -> None:
    with pytest.raises(MissingCapabilityError, match=r"--chat-template FILE .* no longer allowed"):
        (await probed(StubServer(chat_template=False))).require(Mode.EVALUATE)


async def test_a_server_without_tool_parser_is_told_from_one_that_has_it() -> None:
    assert (await probed(StubServer(tool_parser=False))).tool_parser is False
    assert (await probed(StubServer(tool_parser=True))).tool_parser is True


@pytest.mark.parametrize("published", [True, False])
async def test_routes_are_found_with_and_without_a_schema(published: bool) -> None:
    found = await probed(StubServer(published=published))
    assert {"/pause", "/resume", "/collective_rpc"} <= found.routes
    assert "/update_weights" not in found.routes


async def test_a_model_that_is_not_served_is_a_mistake_that_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="does not serve 'n'; it serves m"):
        await probed(StubServer(), model="n")


async def test_another_kind_of_server_is_sent_to_the_policy_for_any_endpoint(tmp_path: Path) -> None:
    class Other(StubServer):
        def _routes(self) -> list[str]:
            return ["/v1/models"]

    with pytest.raises(ConfigError, match=r"is no vLLM server .* --policy openai:http://"):
        await probed(Other())


async def test_nothing_listening_is_told_as_that() -> None:
    async with VLLMApi("http://127.0.0.1:9") as api:
        with pytest.raises(ServerUnreachableError, match="Is the vLLM server running there"):
            await probe(api)
