"""What is asked of the Docker engine. The SDK blocks, so every call runs in a thread and under a timeout."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions

from agentenv.errors import ConfigError
from agentenv.sandbox import SandboxFailed
from agentenv.threads import THREADS

T = TypeVar("T")

OWNER = "agentenv.owner"
"""The label that names the process a container was made for."""
_SCHEMES = ("unix://", "tcp://", "http://")
_CALL_SECONDS = 60.0
_SHOWN_BY_DEFAULT = ("kernel", "module", "class", "block", "bus", "dev", "power", "firmware")
_MASKED = (
    *(
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/scsi",
    ),
    *("/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap"),
    *(f"/sys/{name}" for name in _SHOWN_BY_DEFAULT),
)
"""What no program has to know of the host: the engine's own list, and most of /sys."""


@dataclass(frozen=True, slots=True)
class Started:
    """A container that runs, and the stream that is attached to its first process."""

    id: str
    stream: socket.socket


class Engine:
    """One Docker engine.

    Args:
        url: of its socket; by default what `DOCKER_HOST` says, else the usual socket.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._client: Any = None

    @property
    def shown(self) -> str:
        """Its address, for people."""
        return self._url or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"

    async def open(self) -> Mapping[str, Any]:
        """Connects; what the engine says of itself.

        Raises:
            ConfigError: none answers there, or only over TLS or SSH, which the stream to a container does not speak.
        """
        if not self.shown.startswith(_SCHEMES):
            raise ConfigError(
                f"{self.shown} is none of {', '.join(_SCHEMES)}. A tunnel makes a far engine's socket a near one: "
                "ssh -L /tmp/docker.sock:/var/run/docker.sock HOST"
            )

        def connect() -> Mapping[str, Any]:
            self._client = docker.APIClient(base_url=self.shown, version="auto", timeout=_CALL_SECONDS)
            about: Mapping[str, Any] = self._client.info()
            return about

        try:
            async with asyncio.timeout(_CALL_SECONDS):
                about: Mapping[str, Any] = await THREADS.run(connect)
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError) as error:
            raise ConfigError(
                f"no Docker engine answers at {self.shown}: {_words(error)}. Start one (as root: dockerd), or name "
                "another in DOCKER_HOST or url="
            ) from error
        return about

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await THREADS.run(client.close)

    async def start(self, settings: Mapping[str, Any], host: Mapping[str, Any]) -> Started:
        """Makes a container, attaches to it, and starts it. It ends when the stream is closed.

        Args:
            settings, host: of `APIClient.create_container` and `create_host_config`.

        Raises:
            ConfigError: there is no such image or runtime. SandboxFailed: it could not be started.
        """
        starting = asyncio.ensure_future(THREADS.run(lambda: self._start(settings, host)))
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                started: Started = await asyncio.shield(starting)
        except TimeoutError:
            starting.add_done_callback(_let_go)
            raise SandboxFailed(f"the engine has not started a container for {_CALL_SECONDS:g} s") from None
        except asyncio.CancelledError:
            await self._undo(starting)
            raise
        return started

    async def _undo(self, starting: asyncio.Future[Started]) -> None:
        """Nobody wants this container any more: it is ended as soon as it has begun."""
        done, _ = await asyncio.wait([starting], timeout=_CALL_SECONDS)
        if done and not starting.cancelled() and starting.exception() is None:
            started = starting.result()
            started.stream.close()
            await self.remove(started.id)

    async def remove(self, container: str) -> None:
        """Ends and removes a container, if it is there."""

        def remove() -> None:
            try:
                self._client.remove_container(container, force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code not in (404, 409):  # gone, or on its way
                    raise

        await self.call(remove)

    async def sweep(self) -> None:
        """Removes what processes of this machine have left that are gone."""

        def sweep() -> None:
            for one in self._client.containers(all=True, filters={"label": OWNER}):
                if is_stale(one["Labels"][OWNER]):
                    self._client.remove_container(one["Id"], force=True, v=True)

        await self.call(sweep)

    async def commit(self, container: str, name: str) -> str:
        """Makes an image of a container's root; its id."""
        found: dict[str, str] = await self.call(lambda: self._client.commit(container, repository=name))
        return found["Id"]

    async def call(self, act: Callable[[], T]) -> T:
        """Anything else, with the same errors.

        Raises:
            SandboxFailed: the engine failed, or has not answered.
        """
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                found: T = await THREADS.run(act)
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError) as error:
            raise SandboxFailed(f"the Docker engine at {self.shown} failed: {_words(error)}") from error
        return found

    def _start(self, settings: Mapping[str, Any], host: Mapping[str, Any]) -> Started:
        try:
            config = self._client.create_host_config(**host) | {"MaskedPaths": list(_MASKED)}
            made: str = self._client.create_container(**settings, host_config=config)["Id"]
            try:
                stream = self._attach(made)
                try:
                    self._client.start(made)
                except BaseException:
                    stream.close()
                    raise
            except BaseException:
                self._client.remove_container(made, force=True, v=True)
                raise
        except docker.errors.ImageNotFound as error:
            image = settings["image"]
            raise ConfigError(
                f"the engine has no image {image!r}. `python -m agentenv_docker build` makes agentenv/base; "
                f"others have to be pulled or built"
            ) from error
        except docker.errors.APIError as error:
            if "runtime" in str(error):
                raise ConfigError(f"the engine cannot run this: {_words(error)}") from error
            raise SandboxFailed(f"no container could be started: {_words(error)}") from error
        except requests.exceptions.RequestException as error:
            raise SandboxFailed(f"no container could be started: {_words(error)}") from error
        return Started(made, stream)

    def _attach(self, container: str) -> socket.socket:
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = self._client.attach_socket(container, params=params)
        raw = getattr(attached, "_sock", attached)
        try:
            return socket.socket(fileno=os.dup(raw.fileno()))
        finally:
            attached.close()


def owner() -> str:
    """This process: of which start of which machine, which, and since when."""
    return f"{_boot()}:{os.getpid()}:{_started(os.getpid())}"


def is_stale(name: str) -> bool:
    """Whether an owner was a process of this machine's that is gone."""
    boot, _, process = name.partition(":")
    pid, _, began = process.partition(":")
    return boot == _boot() and pid.isdigit() and str(_started(int(pid))) != began


def _boot() -> str:
    """Tells this machine, since it was started, from others; processes of another machine are its own to look for."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{socket.gethostname()}-{sys.platform}"


def _started(pid: int) -> int:
    """When a process began, in ticks since the machine did; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def _let_go(starting: asyncio.Future[Started]) -> None:
    """Nobody waits for this container any more: it ends when its stream does."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stream.close()


def _words(error: BaseException) -> str:
    """What went wrong, for people: what the system said, where the SDK has wrapped that up."""
    wrapped: BaseException | None = error
    while wrapped is not None:
        if isinstance(wrapped, OSError) and wrapped.strerror:
            return wrapped.strerror
        inner = next((arg for arg in wrapped.args if isinstance(arg, BaseException)), None)
        wrapped = inner or wrapped.__cause__ or wrapped.__context__
    return str(getattr(error, "explanation", None) or error or type(error).__name__)
