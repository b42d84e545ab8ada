"""Sandboxes that are containers of a Docker engine."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import inspect
import itertools
import json
from collections.abc import Collection, Mapping
from typing import Any

from agentenv.errors import ConfigError, MissingExtraError
from agentenv.sandbox import (
    Isolation,
    Limits,
    Network,
    Promise,
    Promises,
    SandboxBackend,
    SandboxFailed,
    promises_named,
)
from agentenv_docker import agent, programs
from agentenv_docker.sandbox import DockerSandbox

try:
    from agentenv_docker.engine import OWNER, Engine, owner
except ImportError as error:
    raise MissingExtraError("docker", "containers as sandboxes") from error

BASE = "agentenv/base"
GVISOR = "runsc"
_SOURCE = inspect.getsource(agent)
_USER = 1000
_ROOT = 0
_VARIABLES = {"HOME": agent.WORK, "TMPDIR": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
_OWN_INODES = 2
_SHARES = {"/sandbox": 0.5, "/tmp": 0.375, "/dev/shm": 0.125}
"""What each of the agent's `WRITABLE` may hold of the disk limit: an engine limits single file systems only."""
_CAPABILITIES = ("KILL", "SETUID", "SETGID", "CHOWN")
"""Of the agent, which becomes the sandbox's user for every program; no program has any."""


class DockerSandboxes(SandboxBackend):
    """Containers, each started before it is asked for.

    Any image will do that has a `python3` (3.9 or newer) and a shell. Its root is read-only; /sandbox, /tmp and
    /dev/shm are file systems in memory, which hold a half, three eighths and an eighth of the disk limit. A container
    ends with the process that made it, however that ends.

    Args:
        image: by name; `python -m agentenv_docker build` makes `agentenv/base`.
        limits: of sandboxes that are created without any of their own.
        warm: how many containers with `limits` wait ready.
        runtime: of the engine, such as `runsc` for gVisor; by default the engine's own.
        writable: whether the root can be written to, by programs that run as root in the container. What they write
            there has no limit, which `without=[Promise.DISK]` has to accept.
        without: promises that need not be kept; `probe` tells which cannot.
        url: of the engine; by default what `DOCKER_HOST` says, else the usual socket.

    Example:
        async with DockerSandboxes() as sandboxes, sandboxes.sandbox() as sandbox:
            result = await sandbox.exec("cat /etc/os-release")
    """

    name = "docker"

    def __init__(
        self,
        *,
        image: str = BASE,
        limits: Limits | None = None,
        warm: int = 1,
        runtime: str | None = None,
        writable: bool = False,
        without: Collection[Promise] = (),
        url: str | None = None,
    ) -> None:
        if warm < 0:
            raise ConfigError(f"warm is how many containers wait ready, got {warm}")
        self.image = image
        self.limits = limits or Limits()
        self.engine = Engine(url)
        self._warm, self._runtime, self._writable = warm, runtime, writable
        self._without = promises_named(without) | {Promise.FILE_RULES}  # an image's files need no more rules
        self._promises: Promises | None = None
        self._numbers = itertools.count(1)
        self._sandboxes: set[DockerSandbox] = set()
        self._ready: collections.deque[DockerSandbox] = collections.deque()
        self._wanted = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    async def probe(self) -> Promises:
        """What the engine says of itself, once a container has run."""
        without = DockerSandboxes(
            image=self.image,
            warm=0,
            runtime=self._runtime,
            writable=self._writable,
            without=list(Promise),
            url=self.engine.shown,
        )
        async with without, without.sandbox() as sandbox:
            await sandbox.exec("true")
            assert without._promises is not None
            return without._promises

    async def open(self) -> None:
        """Connects to the engine, and removes what a client that was killed has left.

        Raises:
            ConfigError: no engine answers, or it cannot keep a promise.
        """
        about = await self.engine.open()
        self._promises = _promises(about, self._runtime, writable=self._writable)
        missing = {promise: why for promise, why in self._promises.broken.items() if promise not in self._without}
        if missing:
            await self.engine.close()
            reasons = "; ".join(f"{promise.value} ({why})" for promise, why in missing.items())
            names = ", ".join(f"Promise.{promise.name}" for promise in missing)
            raise ConfigError(f"this engine cannot promise {reasons}. without=[{names}] says that the rest will do")
        try:
            await self.engine.sweep()
        except BaseException:
            await self.engine.close()
            raise
        if self._warm:
            self._wanted.set()
            self._filling = asyncio.get_running_loop().create_task(self._fill(), name="agentenv-docker-warm")

    async def create(self, limits: Limits | None = None) -> DockerSandbox:
        wanted = limits or self.limits
        if wanted.network is Network.LISTED:
            raise ConfigError("Docker sandboxes reach all or nothing; use a backend that can hold to a list")
        while wanted == self.limits and self._ready:
            sandbox = self._ready.popleft()
            self._wanted.set()
            if sandbox.alive:
                return sandbox
        return await self._make(wanted)

    def forget(self, sandbox: DockerSandbox) -> None:
        """A sandbox was closed."""
        self._sandboxes.discard(sandbox)

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxFailed, ConfigError):
                await self._filling
            self._filling = None
        self._ready.clear()
        async with asyncio.TaskGroup() as group:
            for sandbox in list(self._sandboxes):
                group.create_task(sandbox.close())
        await self.engine.close()

    async def _fill(self) -> None:
        """Keeps as many containers ready as are wanted. Who asks for one himself is told what goes wrong."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(SandboxFailed, ConfigError):
                while len(self._ready) < self._warm:
                    self._ready.append(await self._make(self.limits))

    async def _make(self, limits: Limits) -> DockerSandbox:
        sandbox = DockerSandbox(next(self._numbers), limits, self)
        self._sandboxes.add(sandbox)
        try:
            started = await self.engine.start(self._settings(), self._host(limits))
            await sandbox.begin(started)
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    def _settings(self) -> Mapping[str, Any]:
        user = _ROOT if self._writable else _USER
        texts = json.dumps({"main": programs.MAIN, "session": programs.SESSION})
        return {
            "image": self.image,
            "entrypoint": ["python3", "-I", "-c", _SOURCE, str(user), texts],
            "command": [],
            "user": "0:0",
            "hostname": "sandbox",
            "working_dir": "/",
            "environment": dict(_VARIABLES),
            "stdin_open": True,
            "labels": {OWNER: owner()},
        }

    def _host(self, limits: Limits) -> Mapping[str, Any]:
        user = _ROOT if self._writable else _USER
        owned = f"rw,exec,nosuid,nodev,uid={user},gid={user},mode=1777"
        return {
            "auto_remove": True,
            "read_only": not self._writable,
            "tmpfs": {path: f"{owned},{_room(limits, share)}" for path, share in _SHARES.items()},
            "network_mode": "none" if limits.network is Network.NONE else "bridge",
            "mem_limit": limits.memory_bytes,
            "memswap_limit": limits.memory_bytes,
            "pids_limit": None if self._runtime == GVISOR else limits.pids + 1,
            "cap_drop": ["ALL"],
            "cap_add": list(_CAPABILITIES),
            "security_opt": ["no-new-privileges"],
            "runtime": self._runtime,
        }


def _room(limits: Limits, share: float) -> str:
    """Options of a file system that holds a share of what may be kept."""
    return f"size={max(int(limits.disk_bytes * share), 4096)},nr_inodes={int(limits.files * share) + _OWN_INODES}"


def _promises(about: Mapping[str, Any], runtime: str | None, *, writable: bool) -> Promises:
    """What an engine that describes itself so can promise."""
    what = f"Docker {about.get('ServerVersion', '')}" + (f" with {runtime}" if runtime else "")
    kept = {
        Promise.PRIVATE_FILES: f"{what}: an image of its own",
        Promise.PRIVATE_PROCESSES: f"{what}: a process namespace, ended as one",
        Promise.NO_NETWORK: f"{what}: no network but its own loopback",
        Promise.UNPRIVILEGED: "a user without capabilities, no new privileges",
    }
    broken = {Promise.FILE_RULES: "none are set: an image holds nothing of the host's"}
    version = about.get("CgroupVersion", "1")
    for promise, field in ((Promise.MEMORY, "MemoryLimit"), (Promise.PIDS, "PidsLimit"), (Promise.CPU, "CpuCfsQuota")):
        if about.get(field):
            kept[promise] = f"control groups, version {version}"
        else:
            broken[promise] = f"the engine says that it has no {field}"
    if any("seccomp" in option for option in about.get("SecurityOptions") or ()):
        kept[Promise.SYSTEM_CALLS] = (
            "a kernel of its own (gVisor)" if runtime == GVISOR else "the engine's seccomp filter"
        )
    else:
        broken[Promise.SYSTEM_CALLS] = "the engine has no seccomp"
    if runtime == GVISOR:
        for promise in (Promise.PIDS, Promise.CPU):
            kept.pop(promise, None)
        broken[Promise.PIDS] = "gVisor's own threads count among them: a limit would stop it"
        broken[Promise.CPU] = "gVisor shows no count of all processes: each is limited, not all together"
    if writable:
        broken[Promise.DISK] = "the container's root can be written to without limit"
        kept[Promise.UNPRIVILEGED] = "root of the container, without capabilities"
    else:
        kept[Promise.DISK] = "file systems in memory, each limited in size and number"
    return Promises(Isolation.CONTAINER, kept, broken)
