"""Where a task is played: which sandbox it gets, and what has to be in it before the agent comes."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from agentenv.errors import ConfigError, SandboxError
from agentenv.sandbox import MIB, Limits, Network, Sandbox
from agentenv.sandbox.sharing import BorrowedBackend
from agentenv_code.terminal.folder import TaskFolder
from agentenv_code.terminal.settings import NetworkMode

_DEFAULT_MEMORY_MB, _DEFAULT_STORAGE_MB = 512, 256
_OUTPUT_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Site:
    """A sandbox in which a task has been laid out.

    Attributes:
        work: the folder the agent begins in; image_work: what it is called in the task's image.
        temporary: a folder for what nobody looks at. variables: what every command finds in its environment.
    """

    sandbox: Sandbox
    work: str
    image_work: str
    temporary: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def inside(self, path: str) -> str:
        """Where a path of the task's image is; a relative one begins at the working folder."""
        found = PurePosixPath(self.image_work, path)
        return str(PurePosixPath(self.work, found.relative_to(self.image_work)))


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a verifier works.

    Attributes:
        tests, logs: the folders for the tests and for what they write. variables: what the tests find in their
            environment. stale: what has to be removed before anything is put there.
    """

    tests: str
    logs: str
    variables: Mapping[str, str]
    stale: tuple[str, ...] = ()


class Ground(ABC):
    """Makes sites for tasks.

    Args:
        network: what tasks may reach that do not forbid it themselves.
        command_seconds: how long a command of the agent's may take.
    """

    def __init__(self, *, network: Network, command_seconds: float) -> None:
        self._network, self._command_seconds = network, command_seconds

    def obstacles(self, folder: TaskFolder) -> list[str]:
        """Why a task cannot be played here, a sentence each."""
        return [*folder.unsupported(), *self._network_obstacles(folder)]

    async def site(self, folder: TaskFolder) -> Site:
        """A sandbox for the agent, in which the task has been laid out; open until this ground is closed.

        Raises:
            SandboxError: it could not be made, or the task not be laid out in it.
            ConfigError: a program that the task needs is missing, or the host cannot keep a promise.
        """
        backend = await self._backend(folder)
        return await self._lay_out(folder, await backend.create(self._limits(folder)))

    @asynccontextmanager
    async def fresh(self, folder: TaskFolder) -> AsyncIterator[Site]:
        """Another one, which no agent has seen, for the length of a block. Raises what `site` raises."""
        backend = await self._backend(folder)
        async with backend.sandbox(self._limits(folder)) as sandbox:
            yield await self._lay_out(folder, sandbox)

    @abstractmethod
    def desk(self, site: Site) -> Desk:
        """Where the tests go on a site."""

    @abstractmethod
    async def _backend(self, folder: TaskFolder) -> BorrowedBackend:
        """Where sandboxes for this task come from."""

    @abstractmethod
    async def _lay_out(self, folder: TaskFolder, sandbox: Sandbox) -> Site:
        """Puts a task into an empty sandbox."""

    @abstractmethod
    async def close(self) -> None:
        """Closes every site. Twice is fine."""

    def _network_obstacles(self, folder: TaskFolder) -> list[str]:
        settings = folder.settings
        modes = {
            "environment": settings.environment.network_mode,
            "agent": settings.agent.network_mode,
            "verifier": settings.verifier.network_mode,
        }
        found = [
            f"{table}.network_mode is allowlist, and what plays tasks here reaches all or nothing"
            for table, mode in modes.items()
            if mode is NetworkMode.ALLOWLIST
        ]
        if self._network is Network.NONE and NetworkMode.PUBLIC in modes.values():
            found.append("it asks for the network; network=True allows it")
        return found

    def _limits(self, folder: TaskFolder) -> Limits:
        settings, environment = folder.settings, folder.settings.environment
        collecting = [one.timeout_sec for one in settings.verifier.collect]
        seconds = max(self._command_seconds, settings.verifier.timeout_sec, *collecting)
        forbidden = environment.network_mode is NetworkMode.NO_NETWORK
        return Limits(
            wall_seconds=seconds,
            cpu_seconds=seconds,
            memory_bytes=(environment.memory_mb or _DEFAULT_MEMORY_MB) * MIB,
            disk_bytes=(environment.storage_mb or _DEFAULT_STORAGE_MB) * MIB,
            output_bytes=_OUTPUT_BYTES,
            network=Network.NONE if forbidden else self._network,
        )


class PlainGround(Ground):
    """Plays tasks without their image: in a sandbox whose working folder stands for the image's.

    It takes the tasks that say they need nothing else (`metadata.local_programs`), follows what their Dockerfile copies
    and sets, and refuses every other task.
    """

    def __init__(self, sandboxes: BorrowedBackend, *, network: Network, command_seconds: float) -> None:
        super().__init__(network=network, command_seconds=command_seconds)
        self._sandboxes = sandboxes

    def obstacles(self, folder: TaskFolder) -> list[str]:
        found = super().obstacles(folder)
        if folder.settings.metadata.local_programs is None:
            found.append("its task.toml does not say that it can be played outside of its image")
        found.extend(folder.recipe.obstacles)
        outside = [one.source for one in folder.settings.artifacts if not folder.recipe.holds(one.source)]
        found.extend(f"its artifact {source} lies outside of the working folder" for source in outside)
        return found

    def desk(self, site: Site) -> Desk:
        """A folder that nobody can have prepared, for nobody knew its name."""
        place = f"{site.temporary}/verifier-{secrets.token_hex(8)}"
        tests, logs = f"{place}/tests", f"{place}/logs"
        return Desk(tests, logs, {"HOME": f"{place}/home", "TEST_DIR": tests, "LOGS_DIR": logs})

    async def close(self) -> None:
        await self._sandboxes.close()

    async def _backend(self, folder: TaskFolder) -> BorrowedBackend:
        return self._sandboxes

    async def _lay_out(self, folder: TaskFolder, sandbox: Sandbox) -> Site:
        asked = await sandbox.exec(["sh", "-c", 'pwd; echo "${TMPDIR:-/tmp}"'])
        if not asked.ok:
            raise SandboxError(f"the sandbox has no shell: {asked.stderr.text.strip()}")
        work, temporary = asked.stdout.text.splitlines()
        await self._look_for_programs(folder, sandbox)
        recipe = folder.recipe
        for copied in recipe.files:
            await sandbox.upload(copied.source, f"{work}/{copied.target}")
        variables = {**dict(recipe.variables), **folder.settings.environment.env}
        return Site(sandbox, work, recipe.work, temporary, variables)

    async def _look_for_programs(self, folder: TaskFolder, sandbox: Sandbox) -> None:
        wanted = ("bash", *(folder.settings.metadata.local_programs or ()))
        script = 'for name; do command -v "$name" >/dev/null || echo "$name"; done'
        missing = (await sandbox.exec(["sh", "-c", script, "sh", *wanted])).stdout.text.split()
        if missing:
            raise ConfigError(f"the task {folder.name} needs {', '.join(missing)}, which this sandbox does not have")
