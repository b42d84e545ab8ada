"""`ManagedServer`: a vLLM server of our own, started under a supervisor that leaves no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shlex
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from agentenv.errors import ConfigError
from agentenv_vllm import supervisor
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import ServerStartError, ServerUnreachableError
from agentenv_vllm.interpreter import Interpreter, find_interpreter
from agentenv_vllm.options import ServerOptions
from agentenv_vllm.progress import Progress, Silence

START_SECONDS = 600.0
"""How long a server may take until it is ready: a large model is read from a slow disk, and compiled."""

GRACE_SECONDS = 10.0
"""How long a server may take to end in order before it is killed."""

_POLL_SECONDS = 0.2
_TAIL_LINES = 30
_LOG = logging.getLogger("agentenv.policy.vllm")


class ManagedServer:
    """Serves a model's folder for as long as it is open; ends with us, even if we are killed.

    Args:
        folder: in `save_pretrained` layout.
        options: the server's flags.
        log: the file its output is appended to; the folder is made.
        python: the Python that has vllm; found by `interpreter.find_interpreter` when `None`.
        start_timeout: seconds until it must be ready.
        grace: seconds it may take to end before it is killed.
        progress: told what the server is busy with while it starts.

    Example:
        async with ManagedServer("runs/start", log=Path("runs/server.log")) as server:
            ...  # any OpenAI client at server.base_url
    """

    def __init__(
        self,
        folder: str | Path,
        options: ServerOptions | None = None,
        *,
        log: Path,
        python: str | Path | None = None,
        start_timeout: float = START_SECONDS,
        grace: float = GRACE_SECONDS,
        progress: Progress | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        if not (self.folder / "config.json").is_file():
            raise ConfigError(
                f"there is no model in {folder} (no config.json): name a folder as save_pretrained writes it, or make "
                f"a small untrained one with: python -m agentenv_tiny {folder}"
            )
        self.options = options or ServerOptions()
        self.log = log.absolute()
        self.pid: int | None = None
        """Of the server's head process, which leads a session of its own; `None` before the start."""
        self.interpreter: Interpreter | None = None
        self._python = python
        self._start_timeout = start_timeout
        self._grace = grace
        self._progress = progress or Silence()
        self._port = self.options.port
        self._supervisor: asyncio.subprocess.Process | None = None

    @property
    def model_name(self) -> str:
        return self.options.model_name or self.folder.name

    @property
    def base_url(self) -> str:
        """Where an OpenAI client finds it, ending in /v1."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)
        return f"http://[{host}]:{self._port}/v1" if ":" in host else f"http://{host}:{self._port}/v1"

    @property
    def supervisor_pid(self) -> int | None:
        """Of the process above all of the server's."""
        return None if self._supervisor is None else self._supervisor.pid

    @property
    def running(self) -> bool:
        return self._supervisor is not None and self._supervisor.returncode is None

    @property
    def exit_code(self) -> int | None:
        """Of the server, 128 + N after signal N; `None` while it runs."""
        return None if self._supervisor is None else self._supervisor.returncode

    async def start(self) -> None:
        """Starts the server and waits until it is ready. On any failure or cancellation nothing of it is left.

        Raises:
            VLLMNotInstalledError: no Python has vllm.
            ConfigError: the port is taken.
            ServerStartError: it ended or was not ready in time; the message holds the end of its log.
        """
        if self._supervisor is not None:
            raise ConfigError("the server was started already")
        self.interpreter = await find_interpreter(self._python)
        options = self.options.for_cpu() if self.interpreter.cpu else self.options
        self._port = _free_port(options.host, self.options.port)
        command = options.command(self.interpreter.python, self.folder, self._port)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(command)}\n")
        self._supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", supervisor.__file__, str(self.log), str(self._grace), *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=options.environment(),
            start_new_session=True,  # Ctrl-C at the terminal is for us; we then stop the server in order
        )  # fmt: skip
        try:
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            raise
        finally:
            self._progress.end()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after the grace; returns when no process of the server is left."""
        process = self._supervisor
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(self._grace + 20.0):
                await process.wait()
        except TimeoutError:
            _LOG.warning("the vLLM server (process %s) could not be ended; look at %s", self.pid, self.log)

    async def ended(self) -> int:
        """Waits until the server has ended by itself or by anybody, and nothing of it is left; its exit code."""
        if self._supervisor is None:
            raise ConfigError("the server was not started")
        return await self._supervisor.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The end of the server's log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 64 * 1024))
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"(the log cannot be read: {error})"
        return "\n".join(text.rstrip().splitlines()[-lines:])

    async def _wait_until_ready(self) -> None:
        process = self._supervisor
        assert process is not None
        assert process.stdout is not None
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._start_timeout), VLLMApi(self.base_url) as api:
                self._show_stage()
                self.pid = int(await process.stdout.readline() or 0) or None
                while process.returncode is None:
                    with contextlib.suppress(ServerUnreachableError):
                        await api.health()
                        _LOG.info("%s is ready after %.0f s", self.base_url, time.monotonic() - started)
                        return
                    self._show_stage()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ServerStartError(
                f"the vLLM server was not ready after {self._start_timeout:g} s; give it more by the option "
                f"start_timeout, or see what it waits for. {self._log_words()}"
            ) from None
        raise ServerStartError(
            f"the vLLM server ended while it started (exit code {process.returncode}){_diagnosis(self.tail(400))} "
            f"{self._log_words()}"
        )

    def _show_stage(self) -> None:
        """The last thing the server says it does."""
        told = _SAYS.findall(self.tail(200))
        stage = str(told[-1]).strip()[:100] if told else "importing its packages"
        version = self.interpreter.version if self.interpreter is not None else ""
        self._progress.show(f"starting vLLM {version} on port {self._port}: {stage}")

    def _log_words(self) -> str:
        return f"The end of its log, {self.log}:\n{self.tail()}"


def _free_port(host: str, wanted: int) -> int:
    """`wanted` if it can be listened on, or any free port for 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise ConfigError(
                f"the vLLM server cannot listen at {host}:{wanted} ({error.strerror}). Another program may hold the "
                "port: leave the option port away for any free one."
            ) from error
        return int(probe.getsockname()[1])


_SAYS = re.compile(r"^(?:\([^)]*\)\s*)?INFO \S+ \S+ \[[^\]]*\] (.*)$", re.MULTILINE)
"""A line of vLLM's log, of which the process, level, time and place are left away."""

_KNOWN = (
    (r"No module named '?vllm'?", "this Python has no vllm"),
    (r"[Aa]ddress already in use", "its port was taken meanwhile: start again, or name another by the option port"),
    (r"unrecognized arguments: (.*)", "this vLLM does not know a flag; leave it away by the options, or take a newer"),
    (r"No available memory for the cache blocks|KV cache.*(larger|needed)", "the cache of keys and values is too "
     "small for max_model_len: lower max_model_len, or raise kv_cache_memory_bytes"),
    (r"out of memory|Cannot allocate memory|Free memory on device", "there is too little memory: stop what else uses "
     "it, or lower max_model_len, max_num_seqs or kv_cache_memory_bytes"),
    (r"are not supported for now|has no vLLM implementation", "vLLM does not know this model's architecture"),
)  # fmt: skip


def _diagnosis(log: str) -> str:
    """What the log says of the cause, as part of a sentence."""
    for pattern, words in _KNOWN:
        if re.search(pattern, log):
            return f": {words}."
    errors = re.findall(r"^(?:\([^)]*\)\s*)?(?:ERROR[^\]]*\]\s*)?((?:\w+\.)*\w*(?:Error|Exception): .+)$", log, re.M)
    return f": {errors[-1][:300].rstrip('.')}." if errors else "."
