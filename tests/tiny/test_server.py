"""The HTTP face: vLLM's fields, OpenAI's errors, streaming, disconnects, new weights."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from agentenv_tiny import EmbeddedServer, TinyPolicy, TinyPolicyError, WeightsError, create_policy

MESSAGES = [{"role": "user", "content": "12 times 34"}]
TOOLS = [{"type": "function", "function": {"name": "calculator", "parameters": {"type": "object", "properties": {}}}}]
EVERYTHING = {"logprobs": True, "return_token_ids": True, "return_weight_versions": True}


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(folder, slots=4, seed=0) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as opened:
        yield opened


@pytest.fixture
def post(server: EmbeddedServer, session: aiohttp.ClientSession) -> Any:
    """Post JSON (or raw bytes) to a route; gives status and body."""

    async def send(route: str, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with session.post(server.base_url.removesuffix("/v1") + route, data=data) as response:
            return response.status, json.loads(await response.read())

    return send


async def read_events(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in (await response.text()).split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_chat_reply_carries_the_token_record_of_vllm(
    server: EmbeddedServer, post: Any, policy: TinyPolicy
) -> None:
    body = {"model": server.model_name, "messages": MESSAGES, "tools": TOOLS, "max_tokens": 12, "seed": 4, **EVERYTHING}
    status, reply = await post("/v1/chat/completions", body)
    assert status == 200
    choice = reply["choices"][0]
    expected = policy.tokenizer.apply_chat_template(
        MESSAGES, tools=TOOLS, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert reply["prompt_token_ids"] == expected
    assert len(choice["token_ids"]) == reply["usage"]["completion_tokens"] == 12
    assert choice["finish_reason"] == "length"
    assert choice["weight_versions"] == [{"version": 0, "start": 0, "end": 12}]
    records = choice["logprobs"]["content"]
    assert [set(record) for record in records] == [{"token", "logprob", "bytes", "top_logprobs"}] * 12
    assert [bytes(record["bytes"]).decode(errors="replace") for record in records] == [
        policy.tokenizer.decode([index]) for index in choice["token_ids"]
    ]
    assert choice["message"]["content"] == policy.tokenizer.decode(choice["token_ids"], skip_special_tokens=True)


async def test_neutral_values_of_unsupported_fields_are_taken(post: Any) -> None:
    body = {"messages": MESSAGES, "max_tokens": 1, "presence_penalty": 0.0, "logit_bias": None, "user": "me"}
    assert (await post("/v1/chat/completions", body))[0] == 200


async def test_what_is_not_asked_for_is_not_sent(post: Any) -> None:
    _, reply = await post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 3})
    assert "prompt_token_ids" not in reply
    assert set(reply["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}
    assert reply["choices"][0]["logprobs"] is None


async def test_alternatives_come_in_order_with_the_sampled_logprob_among_them(post: Any) -> None:
    body = {"messages": MESSAGES, "max_tokens": 4, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    _, reply = await post("/v1/chat/completions", body)
    for record in reply["choices"][0]["logprobs"]["content"]:
        values = [each["logprob"] for each in record["top_logprobs"]]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert values[0] == record["logprob"], "greedy takes the first alternative"


async def test_completions_continue_token_ids_as_they_are(post: Any) -> None:
    _, chat = await post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 6, "seed": 2, **EVERYTHING})
    body = {"prompt": chat["prompt_token_ids"], "max_tokens": 6, "seed": 2, "logprobs": 1, "return_token_ids": True}
    _, plain = await post("/v1/completions", body)
    choice = plain["choices"][0]
    assert choice["token_ids"] == chat["choices"][0]["token_ids"]
    assert choice["prompt_token_ids"] == chat["prompt_token_ids"]
    logprobs = [record["logprob"] for record in chat["choices"][0]["logprobs"]["content"]]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(logprobs, abs=1e-4)
    _, from_text = await post("/v1/completions", {**body, "prompt": "<|user|>12 times 34<|end|><|assistant|>"})
    assert from_text["choices"][0]["token_ids"] == choice["token_ids"]


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/completions"])
async def test_a_stream_adds_up_to_the_reply_that_is_not_streamed(
    server: EmbeddedServer, session: aiohttp.ClientSession, post: Any, route: str
) -> None:
    chat = route == "/v1/chat/completions"
    body: dict[str, Any] = {"max_tokens": 20, "seed": 8, "return_token_ids": True, "return_weight_versions": True}
    body |= {"messages": MESSAGES, "logprobs": True} if chat else {"prompt": "12 times", "logprobs": 0}
    _, whole = await post(route, body)
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with session.post(server.base_url.removesuffix("/v1") + route, json=streamed) as response:
        events = await read_events(response)
    choices = [event["choices"][0] for event in events if event["choices"]]
    expected = whole["choices"][0]
    prompt = whole["prompt_token_ids"] if chat else expected["prompt_token_ids"]
    found = events[0]["prompt_token_ids"] if chat else choices[0]["prompt_token_ids"]
    assert found == prompt
    assert [index for choice in choices for index in choice.get("token_ids", [])] == expected["token_ids"]
    texts = [choice["delta"].get("content") if chat else choice["text"] for choice in choices]
    assert "".join(text or "" for text in texts) == (expected["message"]["content"] if chat else expected["text"])
    records = [choice["logprobs"]["content" if chat else "tokens"] for choice in choices if choice["logprobs"]]
    assert sum(map(len, records)) == 20
    assert [choice["finish_reason"] for choice in choices][-2:] == [None, "length"]
    assert choices[-1]["weight_versions"] == expected["weight_versions"]
    assert events[-1]["usage"] == whole["usage"]


async def test_the_openai_client_reads_replies_streams_and_errors(server: EmbeddedServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == [server.model_name]
        create = client.chat.completions.create
        options: Any = {"model": server.model_name, "messages": MESSAGES, "max_tokens": 8, "seed": 1}
        reply = await create(**options)
        stream = await create(**options, stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert "".join(piece or "" for piece in pieces) == reply.choices[0].message.content
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await create(**{**options, "model": "gpt-9"})
        with pytest.raises(openai.BadRequestError) as caught:
            await create(**{**options, "max_tokens": 4000})
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]}, "messages"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"n": 2}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_tokens"),
        ({"min_p": 0.1}, "min_p"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [3]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ],
)
async def test_a_malformed_field_is_named_in_a_400(post: Any, change: dict[str, Any], param: str) -> None:
    status, reply = await post("/v1/chat/completions", {"messages": MESSAGES, **change})
    assert status == 400
    assert set(reply["error"]) == {"message", "type", "param", "code"}
    assert reply["error"]["type"] == "invalid_request_error"
    assert reply["error"]["param"] == param


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b"\xff\xfe{}", 400),
        ("/v1/chat/completions", b"[" * 100_000, 400),
        ("/v1/chat/completions", {"model": "other", "messages": MESSAGES}, 404),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "1 " * 400}]}, 400),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "\ud800"}]}, 400),
        ("/v1/completions", {"prompt": []}, 400),
        ("/v1/completions", {"prompt": ["a", "b"]}, 400),
        ("/v1/completions", {"prompt": [9999]}, 400),
        ("/v1/completions", {"prompt": [1.5]}, 400),
        ("/v1/completions", {}, 400),
        ("/tokenize", {}, 400),
        ("/detokenize", {"tokens": [-1]}, 400),
        ("/reload_weights", {"path": "nowhere"}, 400),
        ("/reload_weights", {"path": "nowhere", "version": 1}, 400),
        ("/v1/completions", b" " * (17 * 2**20), 413),
    ],
)
async def test_bad_bodies_get_openais_error_and_the_server_lives_on(
    post: Any, server: EmbeddedServer, route: str, body: Any, status: int
) -> None:
    answered, reply = await post(route, body)
    assert answered == status
    assert reply["error"]["message"]
    assert (await post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1}))[0] == 200


async def test_no_value_of_any_field_breaks_the_server(post: Any, server: EmbeddedServer) -> None:
    fields = (
        *(
            "model",
            "messages",
            "tools",
            "tool_choice",
            "stream",
            "stream_options",
            "n",
            "temperature",
            "top_p",
            "top_k",
        ),
        *("max_tokens", "max_completion_tokens", "stop", "seed", "logprobs", "top_logprobs", "return_token_ids"),
        *("ignore_eos", "logit_bias", "response_format", "add_generation_prompt", "return_weight_versions", "prompt"),
    )
    values: tuple[Any, ...] = (
        *(None, True, 0, -1, 2**70, 10**400, 1e-300, 1e300, math.nan, math.inf, "", "\ud800", "x", [], [[]], {}, [{}]),
        *([None], ["\ud800"], [1, "a"], {"role": "user"}, [{"role": "assistant", "tool_calls": [{}]}], [-1], [2**70]),
        *([{"function": {"name": "\ud800", "arguments": {}}}], [{"role": "tool", "content": ["a"]}]),
    )
    for route in ("/v1/chat/completions", "/v1/completions", "/tokenize"):
        for field in fields:
            for value in values:
                body = {"messages": MESSAGES, "prompt": "12", "max_tokens": 1, field: value}
                if value is True and field == "stream":
                    continue  # answered with events, not with JSON
                status, reply = await post(route, body)
                assert status in (200, 400, 404), (route, body, reply)
    assert server._engine.alive


async def test_a_fault_of_the_server_is_a_500_with_openais_body(
    post: Any, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._server, "_render", lambda *_: 1 / 0)
    status, reply = await post("/v1/chat/completions", {"messages": MESSAGES})
    assert (status, reply["error"]["type"]) == (500, "server_error")
    assert "ZeroDivisionError" in reply["error"]["message"]


async def test_a_stop_string_is_cut_from_the_text_but_its_tokens_are_kept(post: Any) -> None:
    body = {"messages": MESSAGES, "max_tokens": 40, "seed": 3, **EVERYTHING}
    _, free = await post("/v1/chat/completions", body)
    text = free["choices"][0]["message"]["content"]
    stop = next(text[at : at + 2] for at in range(5, len(text)) if text[at : at + 2].isascii())
    _, cut = await post("/v1/chat/completions", {**body, "stop": stop})
    choice = cut["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    assert choice["message"]["content"] == text[: text.index(stop)]
    assert choice["token_ids"] == free["choices"][0]["token_ids"][: len(choice["token_ids"])]


async def test_a_client_that_disconnects_frees_its_slot(folder: Path, session: aiohttp.ClientSession) -> None:
    async with EmbeddedServer(folder, slots=1, seed=0) as server:
        url = server.base_url + "/chat/completions"
        body = {"messages": MESSAGES, "max_tokens": 150, "ignore_eos": True}
        async with session.post(url, json={**body, "stream": True}) as response:
            await response.content.readline()
            response.close()
        with pytest.raises(TimeoutError):
            await session.post(url, json=body, timeout=aiohttp.ClientTimeout(total=0.005))
        async with session.post(url, json={**body, "max_tokens": 1}) as response:
            assert response.status == 200
        assert server.statistics().running == server.statistics().waiting == 0


async def test_weights_reloaded_from_a_folder_are_stamped_and_sampled(
    post: Any, server: EmbeddedServer, other_policy: TinyPolicy, tmp_path: Path
) -> None:
    other_policy.save(tmp_path / "step-7")
    body = {"messages": MESSAGES, "max_tokens": 10, "temperature": 0, **EVERYTHING}
    _, before = await post("/v1/chat/completions", body)
    assert await post("/reload_weights", {"path": str(tmp_path / "step-7"), "version": 7}) == (200, {"version": 7})
    _, after = await post("/v1/chat/completions", body)
    assert after["choices"][0]["weight_versions"] == [{"version": 7, "start": 0, "end": 10}]
    assert after["choices"][0]["token_ids"] != before["choices"][0]["token_ids"]
    assert server.version == 7


async def test_a_model_of_another_shape_is_refused_on_reload(post: Any, server: EmbeddedServer, tmp_path: Path) -> None:
    from agentenv_tiny import TinyConfig

    create_policy(tmp_path, TinyConfig(layers=1, hidden=16))
    status, reply = await post("/reload_weights", {"path": str(tmp_path), "version": 1})
    assert status == 400
    assert "start a new server" in reply["error"]["message"]
    assert server.version == 0


async def test_tokenize_and_detokenize_are_inverse_and_agree_with_the_chat_route(post: Any) -> None:
    text = "<|user|>12 times é<|end|>"
    _, ids = await post("/tokenize", {"prompt": text})
    assert ids["count"] == len(ids["tokens"])
    assert await post("/detokenize", {"tokens": ids["tokens"]}) == (200, {"prompt": text})
    _, rendered = await post("/tokenize", {"messages": MESSAGES, "tools": TOOLS})
    _, reply = await post(
        "/v1/chat/completions", {"messages": MESSAGES, "tools": TOOLS, "max_tokens": 1, "return_token_ids": True}
    )
    assert rendered["tokens"] == reply["prompt_token_ids"]


async def test_health_turns_bad_and_calls_fail_with_503_when_the_engine_has_died(
    server: EmbeddedServer, session: aiohttp.ClientSession, post: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.base_url.removesuffix("/v1") + "/health"
    async with session.get(url) as response:
        assert response.status == 200

    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(server._engine._batch.decoder, "prefill", broken)
    status, reply = await post("/v1/chat/completions", {"messages": MESSAGES})
    assert (status, reply["error"]["type"]) == (503, "server_error")
    async with session.get(url) as response:
        assert response.status == 503


async def test_a_template_of_ones_own_is_rendered_by_jinja(
    folder: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}!<|assistant|>")
    async with EmbeddedServer(tmp_path) as server:
        url = server.base_url.removesuffix("/v1")
        async with session.post(url + "/tokenize", json={"messages": MESSAGES}) as response:
            ids = (await response.json())["tokens"]
        async with session.post(url + "/detokenize", json={"tokens": ids}) as response:
            assert (await response.json())["prompt"] == "12 times 34!<|assistant|>"


async def test_weights_handed_over_in_memory_serve_from_the_next_call_on(
    policy: TinyPolicy, other_policy: TinyPolicy, session: aiohttp.ClientSession
) -> None:
    async with EmbeddedServer(policy, model_name="mine") as server:
        await server.update_weights(other_policy.model.state_dict(), version=3)
        with pytest.raises(WeightsError):
            await server.update_weights({}, version=4)
        body = {"model": "mine", "messages": MESSAGES, "max_tokens": 5, **EVERYTHING}
        async with session.post(server.base_url + "/chat/completions", json=body) as response:
            reply = await response.json()
    assert reply["choices"][0]["weight_versions"] == [{"version": 3, "start": 0, "end": 5}]
    assert all(math.isfinite(record["logprob"]) for record in reply["choices"][0]["logprobs"]["content"])


async def test_nothing_is_left_when_the_context_ends_by_an_error_with_calls_in_flight(
    folder: Path, session: aiohttp.ClientSession
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="the body failed"):  # noqa: PT012 - the whole context is what raises
        async with EmbeddedServer(folder, slots=1) as server:
            url = server.base_url + "/chat/completions"
            body = {"messages": MESSAGES, "max_tokens": 150, "ignore_eos": True, "stream": True}
            async with session.post(url, json=body) as response:
                await response.content.readline()
                raise RuntimeError("the body failed")
    assert not [thread for thread in set(threading.enumerate()) - before if "agentenv-tiny" in thread.name]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) != 0


async def test_cancelling_the_task_that_serves_stops_the_server(folder: Path) -> None:
    entered: asyncio.Future[EmbeddedServer] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with EmbeddedServer(folder) as server:
            entered.set_result(server)
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    server = await entered
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server._engine.alive


async def test_a_tokenizer_that_is_not_byte_level_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["decoder"] = {"type": "Fuse"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(TinyPolicyError, match="byte-level"):
        EmbeddedServer(tmp_path)


async def test_the_module_makes_a_policy_and_serves_it_until_it_is_interrupted(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    command = (sys.executable, "-m", "agentenv_tiny", str(tmp_path / "start"), "--hidden", "16", "--serve")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert b"made an untrained policy" in await process.stdout.readline()
            url = (await process.stdout.readline()).decode().split()[3]
            async with session.get(url + "/models") as response:
                assert (await response.json())["data"][0]["id"] == "start"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
