"""Tasks in their own images: built from their Dockerfile, or named by their task.toml."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentenv.errors import ConfigError, SandboxError
from agentenv.sandbox import Network, Sandbox
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv.threads import THREADS
from agentenv_code.terminal.files import files_below
from agentenv_code.terminal.folder import TaskFolder
from agentenv_code.terminal.ground import Desk, Ground, Site

_INSPECT_SECONDS = 60.0
_OPTIONS = {"writable": True, "without": ("disk limit",), "warm": 0}
"""A task's image is worked on as in Harbor: by root, who may change all of it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there; `work` is its working folder."""

    name: str
    work: str


class ImageGround(Ground):
    """Plays each task in its own image, with Harbor's own paths: /tests, /logs.

    The agent is root there and can replace the very programs that tests use, as in Harbor: what a task tests in shared
    mode is as trustworthy as that.

    Args:
        options: for the maker of the backend.
    """

    def __init__(self, options: Mapping[str, Any], *, network: Network, command_seconds: float) -> None:
        super().__init__(network=network, command_seconds=command_seconds)
        self._options = {**_OPTIONS, **options}
        self._images: dict[str, Image] = {}
        self._backends: dict[str, BorrowedBackend] = {}

    def obstacles(self, folder: TaskFolder) -> list[str]:
        found = super().obstacles(folder)
        if folder.settings.environment.docker_image is None and not folder.dockerfile.is_file():
            found.append("it has neither environment/Dockerfile nor environment.docker_image")
        return found

    def desk(self, site: Site) -> Desk:
        variables = {"TEST_DIR": "/tests", "LOGS_DIR": "/logs"}
        return Desk("/tests", "/logs", variables, stale=("/tests", "/logs/verifier"))

    async def close(self) -> None:
        for backend in self._backends.values():
            await backend.close()

    async def _backend(self, folder: TaskFolder) -> BorrowedBackend:
        image = self._images[folder.name] = await provide_image(folder, self._options.get("url"))
        if image.name not in self._backends:
            self._backends[image.name] = BorrowedBackend("docker", image=image.name, **self._options)
        return self._backends[image.name]

    async def _lay_out(self, folder: TaskFolder, sandbox: Sandbox) -> Site:
        work = self._images[folder.name].work
        return Site(sandbox, work, work, "/tmp", folder.settings.environment.env)


async def provide_image(folder: TaskFolder, url: str | None = None) -> Image:
    """The task's image, built if it is not there yet. A change to its environment/ makes another.

    Args:
        url: of the engine; by default what `DOCKER_HOST` says, else the usual socket.

    Raises:
        ConfigError: docker's command line is missing.
        SandboxError: the image is not there and cannot be built, or not in `environment.build_timeout_sec`.
    """
    environment = folder.settings.environment
    name = environment.docker_image
    if name is None:
        digest = await THREADS.run(lambda: _digest(folder))
        name = f"agentenv-task/{folder.name.lower()}:{digest}"
        if not (await _docker(url, "image", "inspect", name, seconds=_INSPECT_SECONDS)).ok:
            command = ("build", "--quiet", "--tag", name, str(folder.dockerfile.parent))
            built = await _docker(url, *command, seconds=environment.build_timeout_sec)
            if not built.ok:
                raise SandboxError(f"the image of the task {folder.name} cannot be built: {built.words}")
    ask = ("image", "inspect", "--format", "{{.Config.WorkingDir}}", name)
    found = await _docker(url, *ask, seconds=_INSPECT_SECONDS)
    if not found.ok:
        raise SandboxError(f"the image {name} of the task {folder.name} is not there: {found.words}")
    return Image(name, found.output.strip() or "/")


@dataclass(frozen=True, slots=True)
class _Said:
    ok: bool
    output: str
    words: str


async def _docker(url: str | None, *arguments: str, seconds: float) -> _Said:
    """What docker's command line says; ended where it takes too long, or nobody waits any more."""
    command = ["docker", *(("--host", url) if url else ()), *arguments]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        raise ConfigError("docker is missing; install Docker's command line (Debian: docker.io)") from None
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise SandboxError(f"docker {arguments[0]} took longer than {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _Said(process.returncode == 0, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")[-500:])


def _digest(folder: TaskFolder) -> str:
    """Says which state of environment/ an image was built from."""
    digest = hashlib.sha256()
    for path, file in files_below(folder.dockerfile.parent):
        data = file.read_bytes()
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]
