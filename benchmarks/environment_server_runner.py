"""Steps of our echo environment over the wire.

The variant names what is measured: `async` and `thread`, two ways to write the environment, with `RemoteEnv` over its
one shared WebSocket; `sockets`, the same with a WebSocket per session; `http`, plain requests.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import aiohttp

import agentenv
from agentenv import Action, assistant
from agentenv.gateway.environments import RemoteEnv
from benchmarks.steps import MESSAGE, Step, StepOptions, StepReport, StepRun, measure, server_process

LABELS = {
    "async": "agentenv, WebSocket",
    "thread": "agentenv, WebSocket, SyncEnv in a thread",
    "sockets": "agentenv, a WebSocket per session",
    "http": "agentenv, HTTP",
}


async def _run(sessions: int, options: StepOptions, server: int, port: int) -> StepRun:
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        steps = []
        for number in range(sessions):
            if options.variant == "http":
                steps.append(await _http_step(http, url))
                continue
            # Environments with different keys share no connection. This server has none and does not look at it.
            env = RemoteEnv(url, api_key=str(number) if options.variant == "sockets" else None)
            stack.push_async_callback(env.close)
            await env.reset()
            steps.append(_step_of(env))
        return await measure(steps, options, server)


def _step_of(env: RemoteEnv) -> Step:
    async def step() -> None:
        observation, reward, *_ = await env.step(Action(assistant(MESSAGE)))
        assert observation.messages[0].text == MESSAGE
        assert reward == 1.0

    return step


async def _http_step(http: aiohttp.ClientSession, url: str) -> Step:
    async with http.post(f"{url}/sessions", json={}) as response:
        session = await response.json()
    path = f"{url}/sessions/{session['session']}/step"
    turn = 0

    async def step() -> None:
        nonlocal turn
        body = {
            "request_id": f"step-{turn}",
            "epoch": session["epoch"],
            "turn": turn,
            "message": {"role": "assistant", "content": MESSAGE},
        }
        async with http.post(path, data=json.dumps(body)) as response:
            reply = json.loads(await response.read())
        assert reply["messages"][0]["content"] == MESSAGE
        assert reply["reward"] == 1.0
        turn += 1

    return step


def main() -> None:
    options = StepOptions.parse()
    environment = "thread" if options.variant == "thread" else "async"
    runs = []
    for sessions in options.sessions:
        with server_process("benchmarks.environment_server_echo", environment) as (server, port):
            runs.append(asyncio.run(_run(sessions, options, server, port)))
    StepReport(LABELS[options.variant], agentenv.__version__, tuple(runs)).print()


if __name__ == "__main__":
    main()
