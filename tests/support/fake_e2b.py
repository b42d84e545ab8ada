"""A service with E2B's API whose machines are local sandboxes: the control plane, and the daemon in each machine.

It answers as the real one does, down to Go's words for how a process ended; E2B's own client (2.63) works with it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agentenv.sandbox import EntryKind, ExecResult, Limits, Sandbox, SandboxBackend, SandboxFileError, Stream

API_KEY = "e2b_fake"

_ENVELOPE = struct.Struct(">BI")
_LAST = 0x02
_TYPES = {EntryKind.FILE: "FILE_TYPE_FILE", EntryKind.FOLDER: "FILE_TYPE_DIRECTORY"}

Event = dict[str, Any]


@dataclass(eq=False)
class Machine:
    """One sandbox: its token, when it ends by itself, and its processes, which live on when nobody listens."""

    sandbox: Sandbox
    token: str
    ends_at: float
    asked: dict[str, Any]
    processes: set[asyncio.Task[None]] = field(default_factory=set)


MACHINE: web.RequestKey[Machine] = web.RequestKey("machine", Machine)


class FakeE2B:
    """One service. The first `busy` requests for a machine are refused with 429.

    Args:
        backend: makes the machines. limits: of each.
    """

    def __init__(self, backend: SandboxBackend, limits: Limits) -> None:
        self._backend, self._limits = backend, limits
        self.machines: dict[str, Machine] = {}
        self.busy = 0
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[FakeE2B]:
        app = web.Application(client_max_size=2**26, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/sandboxes", self._list),
                web.post("/sandboxes", self._create),
                web.post("/v2/sandboxes", self._create),
                web.delete("/sandboxes/{id}", self._kill),
                web.post("/sandboxes/{id}/timeout", self._timeout),
                web.get("/files", self._read),
                web.post("/files", self._write),
                web.post("/process.Process/Start", self._start),
                web.post("/filesystem.Filesystem/ListDir", self._list_folder),
            ]
        )
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        reaper = asyncio.create_task(self._reap())
        try:
            yield self
        finally:
            reaper.cancel()
            await asyncio.wait([reaper])
            for id in list(self.machines):
                await self.end(id)
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if "sandboxes" in request.path and request.headers.get("X-API-Key") != API_KEY:
            return _problem(401, "Invalid API key")
        if "id" in request.match_info and request.match_info["id"] not in self.machines:
            return _problem(404, f"sandbox {request.match_info['id']} not found")
        if "sandboxes" not in request.path:
            machine = self.machines.get(request.headers.get("E2b-Sandbox-Id", ""))
            if machine is None:
                return _problem(502, "The sandbox was not found")
            if request.headers.get("X-Access-Token") != machine.token:
                return _problem(401, "no access token provided")
            request[MACHINE] = machine
        response: web.StreamResponse = await handler(request)
        return response

    # The control plane.

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response([{"sandboxID": id} for id in self.machines])

    async def _create(self, request: web.Request) -> web.Response:
        if self.busy:
            self.busy -= 1
            return web.json_response({"code": 429, "message": "too many"}, status=429, headers={"Retry-After": "0"})
        asked = await request.json()
        if asked["templateID"] != "base":
            return _problem(404, f"template '{asked['templateID']}' not found")
        id, token = secrets.token_hex(8), secrets.token_hex(8)
        ends_at = asyncio.get_running_loop().time() + asked.get("timeout", 300)
        self.machines[id] = Machine(await self._backend.create(self._limits), token, ends_at, asked)
        told = {"templateID": "base", "sandboxID": id, "clientID": "c", "envdVersion": "0.6.7"}
        return web.json_response({**told, "envdAccessToken": token, "domain": None}, status=201)

    async def _kill(self, request: web.Request) -> web.Response:
        await self.end(request.match_info["id"])
        return web.Response(status=204)

    async def _timeout(self, request: web.Request) -> web.Response:
        seconds = (await request.json())["timeout"]
        self.machines[request.match_info["id"]].ends_at = asyncio.get_running_loop().time() + seconds
        return web.Response(status=204)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            now = asyncio.get_running_loop().time()
            for id in [id for id, machine in self.machines.items() if machine.ends_at <= now]:
                await self.end(id)

    async def end(self, id: str) -> None:
        """Ends a machine, whatever runs in it."""
        machine = self.machines.pop(id)
        for process in machine.processes:
            process.cancel()
        if machine.processes:
            await asyncio.wait(machine.processes)
        await machine.sandbox.close()

    # The daemon.

    async def _read(self, request: web.Request) -> web.Response:
        path = request.query["path"]
        try:
            return web.Response(body=await request[MACHINE].sandbox.read(path))
        except SandboxFileError as error:
            return _problem(404 if "No such file" in str(error) else 400, str(error))

    async def _write(self, request: web.Request) -> web.Response:
        path = request.query["path"]
        async for part in await request.multipart():
            try:
                await request[MACHINE].sandbox.write(path, bytes(await part.read()))  # type: ignore[union-attr]
            except SandboxFileError as error:
                return _problem(400, str(error))
        return web.json_response([{"name": path.rsplit("/")[-1], "type": "file", "path": path}])

    async def _list_folder(self, request: web.Request) -> web.Response:
        path = (await request.json())["path"]
        try:
            entries = await request[MACHINE].sandbox.list(path)
        except SandboxFileError as error:
            return web.json_response({"code": "not_found", "message": str(error)}, status=404)
        told = []
        for entry in entries:
            info = {"name": entry.name, "path": f"{path}/{entry.name}", "size": str(entry.size)}
            told.append(info | ({"type": _TYPES[entry.kind]} if entry.kind in _TYPES else {}))
        return web.json_response({"entries": told})

    async def _start(self, request: web.Request) -> web.StreamResponse:
        assert request.content_type == "application/connect+json"
        body = await request.read()
        asked = json.loads(body[_ENVELOPE.size :])["process"]
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        events.put_nowait({"start": {"pid": 7}})
        machine: Machine = request[MACHINE]
        process = asyncio.create_task(_live(machine.sandbox, asked, events))
        machine.processes.add(process)
        process.add_done_callback(machine.processes.discard)
        response = web.StreamResponse(headers={"Content-Type": "application/connect+json"})
        await response.prepare(request)
        while (event := await events.get()) is not None:
            await response.write(_message(0, {"event": event}))
        if process.cancelled() or process.cancelling():  # the machine is gone
            if request.transport is not None:
                request.transport.close()
        else:
            await response.write(_message(_LAST, {}))
        return response


async def _live(sandbox: Sandbox, asked: dict[str, Any], events: asyncio.Queue[Event | None]) -> None:
    def hear(stream: Stream, data: bytes) -> None:
        events.put_nowait({"data": {stream.value: base64.b64encode(data).decode()}})

    try:
        argv = [asked["cmd"], *asked.get("args", [])]
        result = await sandbox.exec(argv, env=asked.get("envs"), cwd=asked.get("cwd"), on_output=hear)
        events.put_nowait({"end": _end(result)})
    finally:
        events.put_nowait(None)


def _end(result: ExecResult) -> Event:
    """As Go has it: what is zero is left out, and a signal is told in words."""
    code = -9 if result.exit_code is None else result.exit_code
    if code >= 0:
        return {"exited": True, "status": f"exit status {code}"} | ({"exitCode": code} if code else {})
    words = (signal.strsignal(-code) or "").lower() if -code < 16 else f"signal {-code}"
    return {"exitCode": -1, "status": f"signal: {words}", "error": f"signal: {words}"}


def _message(flags: int, body: Event) -> bytes:
    text = json.dumps(body).encode()
    return _ENVELOPE.pack(flags, len(text)) + text


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "message": message}, status=status)
