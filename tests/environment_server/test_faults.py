"""Environments that break, and callers that misbehave: each is told what happened, and none of it becomes a reward."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from agentenv import EnvSpec
from agentenv.errors import ConfigError
from agentenv.gateway.environments import EnvironmentServer, ServerConfig
from tests.environment_server.actors import Odd, Turns, spec
from tests.environment_server.serving import Caller, calling, serving, until

TURNS = spec("Turns")


def odd(kind: str, **fields: object) -> EnvSpec:
    return spec("Odd", kwargs={"kind": kind}, **fields)


@pytest.mark.parametrize(
    ("kind", "code", "status", "boundary"),
    [
        ("raises", "env_error", 500, "environment"),
        ("exit", "env_error", 500, "environment"),
        ("rubbish", "env_error", 500, "environment"),
        ("strange_message", "env_error", 500, "environment"),
        ("sandbox", "sandbox_error", 502, "sandbox"),
        ("verifier", "verifier_error", 500, "verifier"),
        ("text_reward", "verifier_error", 500, "verifier"),
        ("infinite_reward", "verifier_error", 500, "verifier"),
        ("hangs", "timeout", 504, "timeout"),
    ],
)
async def test_a_failing_step_names_its_boundary_has_no_reward_and_ends_the_session(
    kind: str, code: str, status: int, boundary: str
) -> None:
    limit = 0.5 if kind == "hangs" else 60.0
    async with serving(odd(kind), environment_timeout=limit) as server, calling(server.url) as caller:
        session = await caller.create()
        closed = Odd.closed
        failed = await caller.step(session, 0, request_id="the-step-that-fails")
        assert (failed.code, failed.status) == (code, status)
        assert failed.body["error"]["failure"]["boundary"] == boundary
        assert "reward" not in failed.body
        assert Odd.closed == closed + 1, "what failed is closed at once"
        again = await caller.step(session, 0, request_id="the-step-that-fails")
        assert again.body == failed.body
        assert (await caller.step(session, 0)).code == "session_failed"
        assert (await caller.ask("view", session=session["session"])).body["failure"]["boundary"] == boundary
        assert (await caller.create())["turn"] == 0, "other sessions go on"


async def test_a_failing_reset_is_closed_and_leaves_no_session() -> None:
    async with serving(odd("reset_raises")) as server, calling(server.url) as caller:
        closed = Odd.closed
        answer = await caller.ask("create", request_id="tried-and-failed")
        assert (answer.code, answer.status) == ("env_error", 500)
        assert "no reset today" in answer.body["error"]["message"]
        assert Odd.closed == closed + 1
        assert server.sessions.occupied == 0


async def test_a_reward_that_is_none_stays_null() -> None:
    async with serving(odd("unscored")) as server, calling(server.url) as caller:
        step = (await caller.step(await caller.create(), 0)).body
        assert step["reward"] is None
        assert step["components"] is None


@pytest.mark.parametrize(
    ("kind", "info"),
    [("nan_info", {"metrics": {"loss": None, "steps": 3}}), ("strange_info", None)],
)
async def test_a_diagnostic_that_json_has_no_word_for_does_not_cost_the_step(kind: str, info: object) -> None:
    async with serving(odd(kind)) as server, calling(server.url) as caller:
        step = await caller.step(await caller.create(), 0)
        assert step.code is None
        assert info is None or step.body["info"] == info


async def test_half_a_surrogate_pair_travels_both_ways() -> None:
    async with serving(odd("surrogates")) as server, calling(server.url) as caller:
        step = await caller.step(await caller.create(), 0, "mine: \udc00")
        assert step.body["messages"][0]["content"] == "half a \ud83d pair"


async def test_a_seed_is_refused_where_it_would_not_be_honoured() -> None:
    async with serving(spec("Turns", deterministic=False)) as server, calling(server.url) as caller:
        refused = await caller.ask("create", seed=7)
        assert (refused.code, refused.status) == ("seed_refused", 422)
        assert (await caller.create())["seed"] is None
    async with serving(odd("ignores_the_seed")) as server, calling(server.url) as caller:
        answer = await caller.ask("create", seed=7)
        assert answer.code == "env_error"
        assert "was given the seed 7 and plays with 12345" in answer.body["error"]["message"]


async def test_the_same_seed_gives_the_same_dice() -> None:
    async with serving(TURNS) as server, calling(server.url) as caller:
        dice = [(await caller.create(seed=seed))["info"]["dice"] for seed in (7, 7, 8)]
        assert dice[0] == dice[1] != dice[2]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"a":' * 5000])
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    async with (
        serving(TURNS) as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/sessions", data=body) as response,
    ):
        assert response.status == (201 if body == b"" else 400)


async def test_a_frame_that_is_no_json_object_is_refused_and_the_socket_lives() -> None:
    async with serving(TURNS) as server, aiohttp.ClientSession() as http, http.ws_connect(f"{server.url}/socket") as ws:
        for frame in ("", "{", "[]", '{"op":"dance"}', '{"op":7}', '{"op":["step"]}'):
            await ws.send_str(frame)
            assert (await ws.receive_json())["error"]["code"] == "malformed"
        await ws.send_bytes(b"{}")
        assert (await ws.receive_json())["error"]["code"] == "malformed"
        await ws.send_str('{"op":"server","request_id":"still-there"}')
        assert (await ws.receive_json())["request_id"] == "still-there"


async def test_a_huge_body_is_refused_before_it_is_read_to_the_end() -> None:
    async with serving(TURNS, max_body=100_000) as server, calling(server.url) as caller:
        session = await caller.create()
        answer = await caller.step(session, 0, "x" * 1_000_000)
        assert (answer.code, answer.status) == ("too_large", 413)
        assert (await caller.step(session, 0)).code is None
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{server.url}/socket") as socket:
            await socket.send_str("x" * 1_000_000)
            assert (await socket.receive()).data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_a_body_that_never_arrives_is_given_up() -> None:
    async with serving(TURNS, request_timeout=0.1) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        assert b" 400 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Basic secret", "Bearer secret2"])
async def test_whoever_has_not_the_key_is_refused_on_every_route(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with serving(TURNS, api_key="secret") as server, aiohttp.ClientSession(headers=headers) as http:
        for method, path in [
            ("GET", "/"),
            ("GET", "/tasks"),
            ("POST", "/sessions"),
            ("POST", "/rollout"),
            ("GET", "/socket"),
            ("GET", "/openapi.json"),
        ]:
            async with http.request(method, server.url + path) as response:
                assert response.status == 401
                assert (await response.json())["error"]["code"] == "unauthorized"
        async with http.get(f"{server.url}/health") as response:
            assert response.status == 200


async def test_whoever_has_the_key_may_play() -> None:
    headers = {"Authorization": "Bearer secret"}
    async with (
        serving(TURNS, api_key="secret") as server,
        aiohttp.ClientSession(headers=headers) as http,
        http.ws_connect(f"{server.url}/socket") as socket,
    ):
        caller = Caller(server.url, http, socket)
        listening = asyncio.create_task(caller.listen())
        assert (await caller.step(await caller.create(), 0)).code is None
        listening.cancel()


async def test_a_web_page_of_somebody_else_may_not_use_the_server() -> None:
    async with serving(TURNS) as server, aiohttp.ClientSession() as http:
        for path in ("/sessions", "/rollout"):
            async with http.post(server.url + path, headers={"Origin": "https://elsewhere.example"}) as response:
                assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"{server.url}/socket", origin="https://elsewhere.example")
        async with http.post(f"{server.url}/sessions", headers={"Origin": server.url}) as response:
            assert response.status == 201


async def test_a_route_that_does_not_exist_says_where_to_look() -> None:
    async with serving(TURNS) as server, aiohttp.ClientSession() as http:
        async with http.get(f"{server.url}/step") as response:
            assert response.status == 404
            assert "/openapi.json" in (await response.json())["error"]["message"]
        async with http.put(f"{server.url}/sessions") as response:
            assert response.status == 405


def test_listening_beyond_this_machine_needs_a_key() -> None:
    with pytest.raises(ValueError, match="needs an API key"):
        ServerConfig(host="0.0.0.0")
    with pytest.raises(ValueError, match="empty"):
        ServerConfig(host="0.0.0.0", api_key="")
    assert ServerConfig(host="0.0.0.0", api_key="key").host == "0.0.0.0"
    assert ServerConfig(host="::1").host == "::1"


async def test_an_address_that_is_taken_is_one_clear_mistake() -> None:
    async with serving(TURNS) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(ConfigError, match="cannot listen"):
            async with EnvironmentServer(TURNS, ServerConfig(port=port)):
                pass


async def test_stopping_the_server_closes_every_environment() -> None:
    async with serving(TURNS) as server, calling(server.url, "socket") as caller:
        opened, closed = Turns.opened, Turns.closed
        for _ in range(5):
            await caller.create()
        await server.__aexit__()
        assert (Turns.opened - opened, Turns.closed - closed) == (5, 6), "five sessions, and the one that lists tasks"
        await until(lambda: server.sessions.occupied == 0)


async def test_a_name_that_is_not_this_machines_own_does_not_lead_to_it() -> None:
    async with serving(TURNS) as server, aiohttp.ClientSession() as http:
        port = server.url.rsplit(":", 1)[1]
        for host, status in [(f"elsewhere.example:{port}", 403), (f"localhost:{port}", 200), ("[::1]", 200)]:
            async with http.get(server.url, headers={"Host": host}) as response:
                assert response.status == status
