"""A Python session of a remote sandbox, seen from this side."""

from __future__ import annotations

from agentenv.sandbox import ExecResult, OnOutput, PythonSession
from agentenv.sandbox.service.wire import RunInSession
from agentenv_remote.sandbox import RemoteSandbox


class RemoteSession(PythonSession):
    """Made by `RemoteSandbox.python`."""

    def __init__(self, sandbox: RemoteSandbox, key: str) -> None:
        self._sandbox = sandbox
        self._path = f"/sessions/{key}"
        self._closed = False

    async def run(
        self, code: str, *, wall_seconds: float | None = None, on_output: OnOutput | None = None
    ) -> ExecResult:
        asked = RunInSession(code=code, wall_seconds=wall_seconds, stream=on_output is not None)
        return await self._sandbox.execute(f"{self._path}/run", asked, on_output)

    async def fork(self) -> RemoteSession:
        return await self._sandbox.open_session(f"{self._path}/fork")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._sandbox.end_session(self._path)
