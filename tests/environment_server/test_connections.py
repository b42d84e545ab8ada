"""The WebSocket from both ends: who listens, who is still there, and steps that need no task of their own."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from agentenv import Action, assistant
from agentenv.errors import EpisodeTimeout
from agentenv.gateway.environments import RemoteEnv, ServerUnreachable
from tests.environment_server.actors import Odd, Turns, Waiting, spec
from tests.environment_server.serving import calling, serving, until
from tests.environment_server.test_faults import odd

MANY = spec("Turns", kwargs={"turns": 1000})


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("raises", "env_error"),
        ("exit", "env_error"),
        ("rubbish", "env_error"),
        ("sandbox", "sandbox_error"),
        ("infinite_reward", "verifier_error"),
        ("hangs", "timeout"),
    ],
)
async def test_a_step_that_fails_fails_over_the_socket_as_it_does_over_http(kind: str, code: str) -> None:
    limit = 0.5 if kind == "hangs" else 60.0
    async with serving(odd(kind), environment_timeout=limit) as server, calling(server.url, "socket") as caller:
        session = await caller.create()
        closed = Odd.closed
        failed = await caller.step(session, 0, request_id="the-step-that-fails")
        assert failed.code == code
        assert Odd.closed == closed + 1, "what failed is closed at once"
        assert (await caller.step(session, 0, request_id="the-step-that-fails")).body == failed.body
        assert (await caller.step(session, 0)).code == "session_failed"
        assert (await caller.create())["turn"] == 0, "other sessions go on"


async def test_steps_of_one_frame_are_answered_whether_they_wait_or_not() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server, calling(server.url) as caller, aiohttp.ClientSession() as http:
        sessions = [await caller.create() for _ in range(3)]
        message = {"role": "assistant", "content": "hello"}
        lines = [
            {"op": "step", "session": session["session"], "epoch": session["epoch"], "turn": 0, "message": message}
            for session in sessions
        ]
        text = "\n".join(json.dumps({**line, "request_id": str(number)}) for number, line in enumerate(lines))
        async with http.ws_connect(f"{server.url}/socket") as socket:
            await socket.send_str(text + '\n{"op":"server","request_id":"3"}')
            assert json.loads(await socket.receive_str())["request_id"] == "3"
            Waiting.go.set()
            answered: set[str] = set()
            while len(answered) < 3:
                answered |= {json.loads(line)["request_id"] for line in (await socket.receive_str()).split("\n")}
        assert answered == {"0", "1", "2"}
        assert Waiting.steps == 3


async def test_one_client_alone_and_many_at_once_take_turns_on_one_connection() -> None:
    async with serving(MANY) as server:
        envs = [RemoteEnv(server.url) for _ in range(8)]
        await asyncio.gather(*(env.reset() for env in envs))
        for turn in range(40):
            players = envs[: (1, 1, 8, 3)[turn % 4]]
            results = await asyncio.gather(*(env.step(Action(assistant(str(turn)))) for env in players))
            assert all(result.observation.messages[0].text == f"you said '{turn}'" for result in results)
        await asyncio.gather(*(env.close() for env in envs))
        assert server.sessions.occupied == 0


async def test_whoever_waits_for_the_rest_is_heard_when_the_one_who_listened_is_cancelled() -> None:
    Waiting.prepare()
    async with serving(spec("Waiting")) as server:
        first, second = RemoteEnv(server.url), RemoteEnv(server.url)
        await asyncio.gather(first.reset(), second.reset())
        listening = asyncio.create_task(first.step(Action(assistant("first"))))
        await Waiting.began.wait()
        other = asyncio.create_task(second.step(Action(assistant("second"))))
        await until(lambda: sum(session._running is not None for session in server.sessions) == 2)
        listening.cancel()
        await asyncio.wait([listening])
        Waiting.go.set()
        assert (await other).observation.messages[0].text == "you said 'second'"
        await asyncio.gather(first.close(), second.close())


async def test_a_step_the_server_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentenv.gateway.environments.connection.MARGIN_S", -59.8)
    Waiting.prepare()
    async with serving(spec("Waiting"), lease=0.6, environment_timeout=60.0) as server:
        env = RemoteEnv(server.url)
        await env.reset()
        with pytest.raises(EpisodeTimeout, match="gave no answer"):
            await env.step(Action(assistant("hello")))
        await env.close()


async def test_a_server_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentenv.gateway.environments.connection.PING_S", 0.05)
    about = {"epoch": "e", "max_body": 10_000, "environment_timeout": 60.0, "lease": 60.0, "request_id": "hello"}
    connections = 0

    async def greet_and_say_no_more(request: web.Request) -> web.WebSocketResponse:
        nonlocal connections
        connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(about)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.add_routes([web.get("/socket", greet_and_say_no_more)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        env = RemoteEnv(f"http://127.0.0.1:{runner.addresses[0][1]}")
        with pytest.raises(ServerUnreachable):
            await env.reset()
        assert connections > 1, "it may have been the connection"
        await env.close()
    finally:
        await runner.cleanup()


async def test_a_client_that_falls_silent_loses_its_connection_and_one_that_answers_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentenv.gateway.environments.socket.PING_S", 0.1)
    async with serving(spec("Turns")) as server, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{server.url}/socket", autoping=False) as socket:
            for _ in range(3):
                asked = await socket.receive()
                assert asked.type is WSMsgType.PING
                await socket.pong(asked.data)
            assert (await socket.receive()).type is WSMsgType.PING
            assert (await socket.receive()).type is WSMsgType.CLOSE
        async with calling(server.url, "socket") as caller:
            steps = Turns.steps
            assert (await caller.step(await caller.create(), 0)).code is None
            assert Turns.steps == steps + 1
