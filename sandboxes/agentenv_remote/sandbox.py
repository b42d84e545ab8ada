"""One sandbox of a service, seen from this side."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pydantic

from agentenv.sandbox import (
    Cause,
    Entry,
    ExecResult,
    OnOutput,
    Output,
    Sandbox,
    SandboxFailed,
    Snapshot,
    Stats,
    Usage,
)
from agentenv.sandbox.service.wire import (
    EntriesReply,
    Execute,
    ResultReply,
    RunInSession,
    RunPython,
    SandboxReply,
    SessionReply,
    StatsReply,
    StreamLine,
)
from agentenv_remote.connection import error_of

if TYPE_CHECKING:
    from agentenv_remote.backend import RemoteSandboxes
    from agentenv_remote.session import RemoteSession


class RemoteSandbox(Sandbox):
    """A sandbox on another machine. Made by `RemoteSandboxes`."""

    def __init__(self, backend: RemoteSandboxes, reply: SandboxReply) -> None:
        self._backend, self._key = backend, reply.sandbox
        self.id = f"remote-{reply.sandbox}"
        self.limits = reply.limits.to_limits()
        self.isolation = reply.isolation
        self._end = ""

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        asked = Execute(
            command=command if isinstance(command, str) else [str(part) for part in command],
            stdin=stdin,
            env=dict(env or {}),
            cwd=cwd,
            wall_seconds=wall_seconds,
            stream=on_output is not None,
        )
        return await self.execute("/exec", asked, on_output)

    async def run_python(
        self,
        code: str,
        *,
        stdin: bytes = b"",
        seed: int | None = None,
        wall_seconds: float | None = None,
        on_output: OnOutput | None = None,
    ) -> ExecResult:
        asked = RunPython(code=code, stdin=stdin, seed=seed, wall_seconds=wall_seconds, stream=on_output is not None)
        return await self.execute("/python", asked, on_output)

    async def python(self) -> RemoteSession:
        return await self.open_session("/sessions")

    async def read(self, path: str, *, limit: int | None = None) -> bytes:
        query = {"path": path} if limit is None else {"path": path, "limit": str(limit)}
        return await self._send("GET", "/files", query=query)

    async def write(self, path: str, data: bytes, *, executable: bool = False) -> None:
        query = {"path": path, "executable": "true" if executable else "false"}
        await self._send("PUT", "/files", data, query=query)

    async def list(self, path: str = ".") -> list[Entry]:
        return EntriesReply.model_validate_json(await self._send("GET", "/entries", query={"path": path})).to_entries()

    async def snapshot(self) -> Snapshot:
        return Snapshot(await self._send("GET", "/snapshot"))

    async def restore(self, snapshot: Snapshot) -> None:
        await self._send("PUT", "/snapshot", snapshot.archive)

    async def fork(self) -> RemoteSandbox:
        return self._backend.adopt(SandboxReply.model_validate_json(await self._send("POST", "/fork")))

    async def stats(self) -> Stats:
        return StatsReply.model_validate_json(await self._send("GET", "/stats")).to_stats()

    async def kill(self) -> None:
        await self._send("POST", "/kill")

    async def close(self) -> None:
        if self._end:
            return
        self._end = "it was closed"
        self._backend.forget(self._key)
        # A service that does not answer closes it when the lease is over.
        with contextlib.suppress(SandboxFailed):
            await self._backend.connection.send("DELETE", f"/sandboxes/{self._key}", seconds=self._backend.seconds())

    # What a session and the backend call.

    def lost(self, why: str) -> None:
        """The service has it no longer."""
        self._end = self._end or why
        self._backend.forget(self._key)

    async def execute(
        self, path: str, asked: Execute | RunPython | RunInSession, on_output: OnOutput | None
    ) -> ExecResult:
        """One execution, its output told as it comes if somebody wants to hear it.

        Raises:
            SandboxFailed: the sandbox, the service or the connection failed; the cause of its result is `INFRA`.
        """
        self._check_open()
        seconds = self._backend.seconds(min(asked.wall_seconds or math.inf, self.limits.wall_seconds))
        try:
            if on_output is not None:
                return await self._follow(path, asked, on_output, seconds)
            where = f"/sandboxes/{self._key}{path}"
            return (await self._backend.connection.ask(ResultReply, "POST", where, asked, seconds=seconds)).to_result()
        except SandboxFailed as failure:
            if failure.result is None:
                failure.result = self._nothing(str(failure))
            raise

    async def open_session(self, path: str) -> RemoteSession:
        """A session that a request to this path opens."""
        from agentenv_remote.session import RemoteSession

        return RemoteSession(self, SessionReply.model_validate_json(await self._send("POST", path)).session)

    async def end_session(self, path: str) -> None:
        """Ends a session; one of a sandbox that is gone has ended."""
        with contextlib.suppress(SandboxFailed):
            await self._send("DELETE", path)

    # Inside.

    async def _follow(self, path: str, asked: pydantic.BaseModel, on_output: OnOutput, seconds: float) -> ExecResult:
        connection = self._backend.connection
        async with connection.stream(f"/sandboxes/{self._key}{path}", asked, seconds=seconds) as lines:
            async for raw in lines:
                line = StreamLine.model_validate_json(raw)
                if line.result is not None:
                    return line.result.to_result()
                if line.error is not None:
                    raise error_of(line.error, connection.url)
                if line.output is not None:
                    on_output(line.output.stream, line.output.data)
        raise SandboxFailed(f"{connection.url} ended its answer before the execution had ended")

    async def _send(
        self, method: str, path: str, data: bytes | None = None, *, query: Mapping[str, str] | None = None
    ) -> bytes:
        self._check_open()
        where = f"/sandboxes/{self._key}{path}"
        return await self._backend.connection.send(method, where, data, query=query, seconds=self._backend.seconds())

    def _check_open(self) -> None:
        if self._end:
            raise SandboxFailed(f"the sandbox {self.id} is gone: {self._end}", self._nothing(self._end))

    def _nothing(self, why: str) -> ExecResult:
        return ExecResult(Cause.INFRA, None, Output(), Output(), Usage(), self.isolation, why)
