"""Servers in this process and in others, and a client that speaks both wires by hand."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

from agentenv import EnvSpec
from agentenv.gateway.environments import EnvironmentServer, ServerConfig, wire

ROOT = Path(__file__).parents[2]

Body = dict[str, Any]

_REPLIES = {
    "server": wire.ServerView,
    "tasks": wire.TaskPage,
    "create": wire.SessionReply,
    "step": wire.StepReply,
    "view": wire.SessionView,
    "heartbeat": wire.HeartbeatReply,
    "close": wire.Acknowledgement,
}


class Answer(NamedTuple):
    """A reply. `status` is HTTP's, or what HTTP would have said."""

    body: Body
    status: int | None

    @property
    def code(self) -> str | None:
        return self.body["error"]["code"] if "error" in self.body else None


class Caller:
    """Asks by hand, over one of the two wires, and holds every reply against the published schema."""

    def __init__(self, url: str, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse | None) -> None:
        self.url = url
        self._http = http
        self._socket = socket
        self._waiting: dict[str, asyncio.Future[Body]] = {}

    async def ask(self, op: str, **fields: Any) -> Answer:
        answer = await (self._over_http(op, fields) if self._socket is None else self._over_socket(op, fields))
        model = wire.ErrorReply if answer.code is not None else _REPLIES[op]
        model.model_validate(answer.body)
        return answer

    async def create(self, **fields: Any) -> Body:
        answer = await self.ask("create", **fields)
        assert answer.code is None, answer.body
        return answer.body

    async def step(self, session: Body, turn: int, text: str = "hello", /, **fields: Any) -> Answer:
        message = {"role": "assistant", "content": text}
        wanted = {"session": session["session"], "epoch": session["epoch"], "turn": turn, "message": message}
        return await self.ask("step", **{**wanted, "request_id": uuid.uuid4().hex, **fields})

    async def _over_http(self, op: str, fields: Body) -> Answer:
        body = dict(fields)
        session = f"/sessions/{quote(body.pop('session', ''), safe='')}"
        method, path = {
            "server": ("GET", "/"),
            "tasks": ("GET", "/tasks"),
            "create": ("POST", "/sessions"),
            "step": ("POST", f"{session}/step"),
            "view": ("GET", session),
            "heartbeat": ("POST", f"/sessions/{body.get('sessions', [''])[0]}/heartbeat"),
            "close": ("DELETE", session),
        }[op]
        options: Any = {"json": body} if method == "POST" else {"params": body}
        async with self._http.request(method, URL(self.url + path, encoded=True), **options) as response:
            return Answer(await response.json(), response.status)

    async def _over_socket(self, op: str, fields: Body) -> Answer:
        assert self._socket is not None
        asked = fields.setdefault("request_id", uuid.uuid4().hex)
        future = self._waiting.setdefault(asked, asyncio.get_running_loop().create_future())
        await self._socket.send_str(json.dumps({"op": op, **fields}))
        return Answer(await future, None)

    async def listen(self) -> None:
        assert self._socket is not None
        async for message in self._socket:
            for line in message.data.split("\n"):
                reply = json.loads(line)
                self._waiting.pop(reply["request_id"]).set_result(reply)


@asynccontextmanager
async def calling(url: str, over: str = "http") -> AsyncIterator[Caller]:
    """A caller over `http` or a `socket`."""
    async with aiohttp.ClientSession() as http:
        if over == "http":
            yield Caller(url, http, None)
            return
        async with http.ws_connect(f"{url}/socket", max_msg_size=0) as socket:
            caller = Caller(url, http, socket)
            listening = asyncio.create_task(caller.listen())
            yield caller
            listening.cancel()


@asynccontextmanager
async def serving(spec: EnvSpec, **config: Any) -> AsyncIterator[EnvironmentServer]:
    """A server on this loop."""
    async with EnvironmentServer(spec, ServerConfig(**{"port": 0, **config})) as server:
        yield server


@contextmanager
def serving_in_thread(spec: EnvSpec, **config: Any) -> Iterator[str]:
    """The URL of a server on a loop of its own, so that this thread may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = EnvironmentServer(spec, ServerConfig(**{"port": 0, **config}))
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
        yield server.url
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def serving_in_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Body]]:
    """`agentenv serve environment ARGUMENTS --json`, and what it says of itself."""
    command = [sys.executable, "-c", "from agentenv.cli import main; main()", "serve", "environment", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "--json"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=30)


async def until(condition: Any) -> None:
    """Lets the loop run until the condition holds (the test's own time limit ends a wait in vain)."""
    while not condition():  # noqa: ASYNC110 - any condition, not only those somebody announces
        await asyncio.sleep(0.005)
