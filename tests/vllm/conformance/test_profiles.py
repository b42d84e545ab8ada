"""Each release has the routes, fields and habits it had, and no others. (The fake alone: only 0.32 runs on a CPU.)"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_vllm import PROFILES, FakeVLLM, Gate, LogprobsMode, Route
from tests.vllm.conformance.cases import CHAT, COMPLETIONS, GENERATE, MODEL, PROMPT, RENDER, TOOLS, USER
from tests.vllm.conformance.client import Client, Json
from tests.vllm.conformance.conftest import AS_REAL
from tests.vllm.conformance.flights import LONG_BY_TOKEN, MANY, SHORT, Flight, caught, is_waiting
from tests.vllm.conformance.reference import agreeing, is_from
from tests.vllm.conformance.sampling import reload, sample

Run = Callable[..., AbstractAsyncContextManager[Client]]
RELEASES = list(PROFILES)
ASK: Json = {"model": MODEL, "messages": USER, "max_tokens": 2, "temperature": 0}


@pytest.fixture
def run(start: Path) -> Run:
    """Start a fake of a release; options beside those of the real server's."""

    @asynccontextmanager
    async def running(release: str, **options: Any) -> AsyncIterator[Client]:
        async with (
            FakeVLLM(start, profile=release, **{**AS_REAL, **options}) as server,
            Client(server.base_url) as client,
        ):
            yield client

    return running


@pytest.mark.parametrize("release", RELEASES)
async def test_a_release_has_its_routes_and_no_others(run: Run, release: str) -> None:
    async with run(release) as client:
        published = (await client.get("/openapi.json")).body["paths"]
        for route in Route:
            missing = (await client.call(route.method, route.path, b"{}")).body in (
                {"detail": "Not Found"},
                {"detail": "Method Not Allowed"},
            )
            assert missing is not PROFILES[release].has(route), route
            listed = route.method.lower() in published.get(route.path, {})
            assert listed is (PROFILES[release].has(route) and route is not Route.OPENAPI), route
            if route in (Route.PAUSE, Route.SLEEP):
                await client.post("/resume")
                await client.post("/wake_up")


@pytest.mark.parametrize(
    ("route", "releases"),
    [
        (Route.PAUSE, ["0.12", "0.16", "0.21", "0.28", "0.32", "0.33"]),
        (Route.GENERATE, ["0.12", "0.16", "0.21", "0.28", "0.32", "0.33"]),
        (Route.UPDATE_WEIGHTS, ["0.16", "0.21", "0.28", "0.32", "0.33"]),
        (Route.RENDER_CHAT, ["0.16", "0.21", "0.28", "0.32", "0.33"]),
        (Route.START_UPDATE, ["0.21", "0.28", "0.32", "0.33"]),
        (Route.UPDATE_WEIGHT_VERSION, ["0.28", "0.32", "0.33"]),
        (Route.DERENDER_CHAT, ["0.28", "0.32", "0.33"]),
        (Route.WEIGHT_CHECKER, ["0.32", "0.33"]),
    ],
)
def test_routes_came_with_their_release(route: Route, releases: list[str]) -> None:
    assert [name for name, profile in PROFILES.items() if profile.has(route)] == releases


async def test_the_schema_names_the_modes_of_a_pause_since_016(run: Run) -> None:
    for release, expected in (("0.12", False), ("0.16", True), ("0.32", True)):
        async with run(release) as client:
            pause = (await client.get("/openapi.json")).body["paths"]["/pause"]["post"]
        assert any(parameter["name"] == "mode" for parameter in pause.get("parameters", ())) is expected


async def test_without_the_developers_mode_its_routes_are_not_there(run: Run) -> None:
    async with run("0.32", dev_mode=False) as client:
        for route, gate in PROFILES["0.32"].routes.items():
            reply = await client.call(route.method, route.path, b"{}")
            assert (reply.body == {"detail": "Not Found"}) is (gate is Gate.DEV), route


async def test_pausing_was_open_to_everybody_in_its_first_release(run: Run) -> None:
    async with run("0.12", dev_mode=False) as client:
        assert (await client.post("/pause")).body == {"status": "paused"}
        assert (await client.post("/sleep")).status == 404


async def test_without_the_flag_the_scale_out_routes_say_which_flag(run: Run) -> None:
    async with run("0.32", scale_out=False) as client:
        reply = await client.post(GENERATE, {"token_ids": PROMPT, "sampling_params": {}})
        assert (reply.status, reply.body["error"]["type"]) == (403, "PermissionDeniedError")
        assert "--enable-scale-out" in reply.body["error"]["message"]
        assert GENERATE not in (await client.get("/openapi.json")).body["paths"]


async def test_without_its_variable_adapters_cannot_be_loaded(run: Run) -> None:
    async with run("0.32", runtime_lora=False) as client:
        assert (await client.post("/v1/load_lora_adapter", {})).status == 404


async def test_the_key_guards_the_api_and_nothing_else(run: Run, start: Path) -> None:
    async with FakeVLLM(start, api_key="secret", **AS_REAL) as server:
        async with Client(server.base_url) as client:
            for path in ("/v1/models", "/v1/nope", "/inference/v1/generate"):
                reply = await client.get(path)
                assert (reply.status, reply.body) == (401, {"error": "Unauthorized"})
            assert (await client.get("/health")).status == 200
            assert (await client.post("/pause")).status == 200
        async with Client(server.base_url, {"Authorization": "Bearer secret"}) as client:
            assert (await client.get("/v1/models")).status == 200


REASONING = {"0.10.2": {"reasoning_content"}, "0.12": {"reasoning", "reasoning_content"}}
MESSAGE = {"role", "content", "refusal", "annotations", "audio", "function_call"}
CHOICE = {"index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids"}
BODY = {
    *("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"),
    *("prompt_logprobs", "prompt_token_ids", "kv_transfer_params"),
}


@pytest.mark.parametrize("release", RELEASES)
async def test_chat_replies_have_the_fields_of_their_release(run: Run, release: str) -> None:
    since = RELEASES.index
    at_least = {name for name in RELEASES if since(name) <= since(release)}
    async with run(release) as client:
        body = (await client.post(CHAT, ASK)).body
    (choice,) = body["choices"]
    early = not at_least & {"0.28"}
    assert choice["message"].keys() == MESSAGE | REASONING.get(release, {"reasoning"}) | (
        {"tool_calls"} if early else set()
    )
    assert choice["message"].get("tool_calls", []) == []
    newer = ({"routed_experts"} if "0.21" in at_least else set()) | (
        {"weight_versions"} if "0.33" in at_least else set()
    )
    assert choice.keys() == CHOICE | newer
    newer = ({"prompt_text"} if "0.21" in at_least else set()) | (
        {"ec_transfer_params", "metrics"} if "0.28" in at_least else set()
    )
    assert body.keys() == BODY | newer
    assert (body["system_fingerprint"] is None) is ("0.21" not in at_least)
    assert ("completion_tokens_details" in body["usage"]) is ("0.28" in at_least)


@pytest.mark.parametrize("release", RELEASES)
async def test_token_ids_lie_where_they_lay_in_every_release(run: Run, release: str) -> None:
    ask = {**ASK, "return_token_ids": True}
    async with run(release) as client:
        chat = (await client.post(CHAT, ask)).body
        completion = (await client.post(COMPLETIONS, {**SHORT, "return_token_ids": True})).body["choices"][0]
        chunks = (await client.post(CHAT, {**ask, "stream": True})).body
    assert len(chat["prompt_token_ids"]) == chat["usage"]["prompt_tokens"]
    assert len(chat["choices"][0]["token_ids"]) == 2
    assert (completion["prompt_token_ids"], len(completion["token_ids"])) == (PROMPT, 2)
    assert [("prompt_token_ids" in chunk) for chunk in chunks[:-1]] == [True, *([False] * (len(chunks) - 2))]
    assert [token for chunk in chunks[1:-1] for token in chunk["choices"][0]["token_ids"]] == (
        chat["choices"][0]["token_ids"]
    )


async def test_what_happens_to_new_requests_while_paused_changed_with_033(run: Run) -> None:
    async with run("0.33") as client:
        await client.post("/pause?mode=keep")
        kept = asyncio.create_task(client.post(COMPLETIONS, SHORT))
        assert await is_waiting(kept)
        await client.post("/resume")
        assert (await kept).status == 200
        await client.post("/pause?mode=abort")
        reply = await client.post(COMPLETIONS, SHORT)
        assert (reply.status, reply.body["error"]["type"]) == (503, "ServiceUnavailableError")
        streamed = await client.post(COMPLETIONS, {**SHORT, "stream": True})
        assert streamed.status == 200
        assert [event if event == "[DONE]" else event["error"]["code"] for event in streamed.body] == [503, "[DONE]"]
        await client.post("/resume")
        assert (await client.post(COMPLETIONS, SHORT)).status == 200


async def test_016_hides_that_it_is_paused_with_keep_and_keeps_the_old_keys_of_frozen_requests(
    run: Run, start: Path, other: Path
) -> None:
    async with run("0.16") as client:

        async def freeze() -> tuple[list[int], list[float]] | None:
            async with Flight(client) as flight:
                await client.post("/pause?mode=keep")
                assert (await client.get("/is_paused")).body == {"is_paused": False}
                assert (await client.get("/is_sleeping")).body == {"is_sleeping": False}
                reset = await client.post("/reset_prefix_cache")
                assert (reset.status, reset.body) == (200, "")
                await reload(client, other)
                await client.post("/resume")
                await flight.last_choice()
            chunks = [event["choices"][0] for event in flight.events if isinstance(event, dict)]
            logprobs = [value for chunk in chunks for value in chunk["logprobs"]["token_logprobs"]]
            if agreeing(start, PROMPT, flight.token_ids, logprobs) < MANY:
                return flight.token_ids, logprobs
            await reload(client, start)
            return None

        ids, logprobs = await caught(freeze)
    cut = agreeing(start, PROMPT, ids, logprobs)
    assert not is_from(other, [*PROMPT, *ids[:cut]], ids[cut:], logprobs[cut:])


async def test_before_016_weights_are_reloaded_from_the_folder_of_the_start_alone(run: Run, other: Path) -> None:
    async with run("0.12") as client:
        with_path = {"method": "reload_weights", "kwargs": {"weights_path": str(other)}}
        assert (await client.post("/collective_rpc", with_path)).status == 500
        assert (await client.post("/collective_rpc", {"method": "reload_weights"})).status == 200


async def test_016_updates_weights_in_two_phases(run: Run, other: Path) -> None:
    async with run("0.16") as client:
        await client.post("/init_weight_transfer_engine", {"init_info": {}})
        info = {"update_info": {"path": str(other / "model.safetensors")}}
        assert (await client.post("/update_weights", info)).body == {"message": "Weights updated"}
        assert (await sample(client, PROMPT)).is_from(other)


async def test_the_end_of_an_update_names_the_version_since_028(run: Run, other: Path) -> None:
    for release, expected in (("0.21", None), ("0.28", "9")):
        async with run(release) as client:
            await client.post("/start_weight_update", {})
            await client.post("/update_weights", {"update_info": {"path": str(other / "model.safetensors")}})
            assert (await client.post("/finish_weight_update", {"weight_version": "9"})).status == 200
            assert (await client.get("/weight_info")).body == (
                {"detail": "Not Found"} if expected is None else {"weight_version": expected}
            )


async def test_weight_versions_are_told_on_chat_and_completions_since_033(run: Run) -> None:
    for release in ("0.32", "0.33"):
        async with run(release) as client:
            await client.post("/update_weight_version", {"new_version": "5"})
            whole = await client.post(CHAT, {**ASK, "return_weight_versions": True})
            streamed = await client.post(COMPLETIONS, {**SHORT, "return_weight_versions": True, "stream": True})
        found = whole.body["choices"][0].get("weight_versions"), streamed.body[-2]["choices"][0].get("weight_versions")
        expected = [{"version": "5", "start": 0, "end": 2}] if release == "0.33" else None
        assert found == (expected, expected)


@pytest.mark.parametrize("release", RELEASES[1:])
async def test_generate_reports_logprobs_in_one_of_two_shapes(run: Run, release: str) -> None:
    async with run(release) as client:
        body = {"token_ids": PROMPT, "sampling_params": {"max_tokens": 1, "temperature": 0, "logprobs": 1}}
        reply = (await client.post(GENERATE, body)).body
    (record,) = reply["choices"][0]["logprobs"]["content"]
    newest = release in ("0.32", "0.33")
    assert record.keys() == ({"token_id", "logprob", "rank"} if newest else {"token", "logprob", "bytes"}) | {
        "top_logprobs"
    }
    assert ("usage" in reply) is (release in ("0.28", "0.32", "0.33"))
    assert ("weight_versions" in reply["choices"][0]) is newest


async def test_generate_streams_since_021(run: Run) -> None:
    for release in ("0.16", "0.21"):
        async with run(release) as client:
            reply = await client.post(GENERATE, {**LONG_BY_TOKEN, "stream": True})
        assert reply.status == (501 if release == "0.16" else 200)


async def test_render_gave_the_conversation_in_016_and_a_request_since(run: Run) -> None:
    for release, kind in (("0.16", list), ("0.28", dict)):
        async with run(release) as client:
            assert type((await client.post(RENDER, ASK)).body) is kind


async def test_raw_logprobs_are_those_before_the_temperature(run: Run, start: Path) -> None:
    for mode in LogprobsMode:
        async with run("0.32", logprobs_mode=mode) as client:
            answer = await sample(client, PROMPT, temperature=0.5, seed=1)
        assert answer.is_from(start) is (mode is LogprobsMode.RAW)


async def test_without_a_parser_tools_are_refused_and_calls_stay_text(run: Run) -> None:
    async with run("0.32", tool_call_parser=None, auto_tool_choice=False) as client:
        reply = await client.post(CHAT, {**ASK, "tools": TOOLS})
        assert (reply.status, reply.body["error"]["type"]) == (400, "BadRequestError")
        assert (await client.post(CHAT, {**ASK, "tools": TOOLS, "tool_choice": "none"})).status == 200


async def test_what_the_fake_cannot_do_it_refuses(run: Run) -> None:
    async with run("0.32") as client:
        for field in ({"response_format": {"type": "json_object"}}, {"min_tokens": 2}, {"logit_bias": {"5": 1.0}}):
            assert (await client.post(CHAT, {**ASK, **field})).status == 501
        assert (await client.post(CHAT, {**ASK, "tools": TOOLS, "tool_choice": "required"})).status == 501


async def test_several_answers_to_one_prompt_differ_and_stream_side_by_side(run: Run) -> None:
    ask = {**ASK, "temperature": 1.0, "n": 3, "seed": 3, "max_tokens": 6, "return_token_ids": True}
    async with run("0.32") as client:
        whole = (await client.post(CHAT, ask)).body["choices"]
        events = (await client.post(CHAT, {**ask, "stream": True})).body
    assert [choice["index"] for choice in whole] == [0, 1, 2]
    assert len({tuple(choice["token_ids"]) for choice in whole}) == 3
    for index, choice in enumerate(whole):
        parts = [event["choices"][0] for event in events[3:-1] if event["choices"][0]["index"] == index]
        assert [token for part in parts for token in part["token_ids"]] == choice["token_ids"]
