"""The fake in a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 60.0
STOP_SECONDS = 10.0
ROOT = Path(__file__).parents[3]
"""Where `python -m tests.support.fake_vllm` can be run."""


class FakeVLLMProcess:
    """`python -m tests.support.fake_vllm` as a context manager. `flags` are vLLM's; `restart` keeps the port."""

    def __init__(
        self,
        folder: str | Path,
        *flags: str,
        profile: str = "0.32",
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = [str(folder), "--profile", profile, *flags]
        self._port = port
        usual = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "OMP_NUM_THREADS": "1"}
        self._environment = {**os.environ, **usual, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self.base_url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server has not been started"
        return self._process.pid

    async def start(self) -> None:
        """Returns when it takes requests. Raises RuntimeError when it ends instead."""
        command = [sys.executable, "-m", "tests.support.fake_vllm", *self._arguments, "--port", str(self._port)]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, env=self._environment, start_new_session=True
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = (await self._process.stdout.readline()).decode().strip()
        if not line:
            raise RuntimeError(f"the fake vLLM ended with {await self._process.wait()}: {' '.join(command)}")
        self.base_url = line.rsplit(" ", 1)[1]
        self._port = int(self.base_url.rsplit(":", 1)[1])

    async def kill(self) -> None:
        """As a crash does it: no answer to anybody."""
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        """The same server again, at the same address, with the weights of the folder."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()
        await self.start()

    async def wait(self) -> int:
        """Returns when the process has ended, with its exit status."""
        assert self._process is not None, "the server has not been started"
        return await self._process.wait()

    def kill_engine(self) -> None:
        """`/health` says 503 and requests get 500, until the server ends, half a second later."""
        os.kill(self.pid, signal.SIGUSR1)

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._end(signal.SIGKILL)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end(signal.SIGTERM)
