"""Sandboxes of a service with E2B's API, as a backend."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Collection

import aiohttp

from agentenv.errors import AgentenvError, ConfigError
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
from agentenv_e2b.control import ControlPlane
from agentenv_e2b.envd import PORT, Envd
from agentenv_e2b.sandbox import E2BSandbox
from agentenv_e2b.wire import Egress, NewSandbox

_PROMISES = Promises(
    Isolation.MACHINE,
    kept={
        Promise.PRIVATE_FILES: "the service: a virtual machine of its own",
        Promise.PRIVATE_PROCESSES: "the service: a virtual machine of its own",
        Promise.NO_NETWORK: "the service: a machine without internet access",
    },
    broken={
        Promise.UNPRIVILEGED: "the user of most templates may become root of its machine",
        Promise.SYSTEM_CALLS: "none are filtered: the kernel is the machine's own",
        Promise.FILE_RULES: "none are set: the machine holds nothing of the host's",
        Promise.MEMORY: "each process is limited by itself; the machine's memory is its template's",
        Promise.PIDS: "who becomes root of its machine is not limited",
        Promise.CPU: "each process is limited by itself",
        Promise.DISK: "the size of each file is limited; the machine's disk is its template's",
    },
)
_NEEDLESS = frozenset({Promise.SYSTEM_CALLS, Promise.FILE_RULES})
"""What keeps a program from a kernel and files that a machine of its own does not share."""
_SHORTEST_LIFETIME = 3.0
_EVERYTHING = "0.0.0.0/0"


class E2BSandboxes(SandboxBackend):
    """Virtual machines of E2B, or of any service with its API.

    A machine ends `lifetime` seconds after this process has. Time and output are watched from here; memory, CPU,
    processes and the size of a file are limited inside by `ulimit`, which a program that becomes root of its machine
    can lift: what that leaves open has to be accepted by name in `without`.

    Args:
        api_key: `E2B_API_KEY` unless given.
        template: what a machine is made from; has bash, and python3 for `run_python`.
        domain: of the service; `E2B_DOMAIN` or `e2b.app` unless given.
        url: of the control plane; `https://api.DOMAIN` unless given.
        sandbox_url: where every machine is reached; each has a name below the domain unless given.
        limits: of sandboxes that are created without any of their own.
        lifetime: seconds a machine outlives its last sign of life from here.
        patience: seconds in which a request that the service is too busy for is made again.
        without: promises that need not be kept; `probe` tells which cannot.

    Example:
        without = [Promise.UNPRIVILEGED, Promise.MEMORY, Promise.PIDS, Promise.CPU, Promise.DISK]
        async with E2BSandboxes(without=without) as sandboxes, sandboxes.sandbox() as sandbox:
            result = await sandbox.run_python("print(1)")

    Raises:
        ConfigError: there is no API key.
    """

    name = "e2b"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        template: str = "base",
        domain: str | None = None,
        url: str | None = None,
        sandbox_url: str | None = None,
        limits: Limits | None = None,
        lifetime: float = 60.0,
        patience: float = 120.0,
        without: Collection[Promise] = (),
    ) -> None:
        key = api_key or os.environ.get("E2B_API_KEY")
        if not key:
            raise ConfigError("E2B sandboxes need an API key: api_key=, or E2B_API_KEY")
        if not _SHORTEST_LIFETIME <= lifetime < math.inf:
            raise ConfigError(f"a machine's lifetime is at least {_SHORTEST_LIFETIME:g} seconds, got {lifetime!r}")
        self._key, self._template = key, template
        self._domain = domain or os.environ.get("E2B_DOMAIN") or "e2b.app"
        self._url = (url or f"https://api.{self._domain}").rstrip("/")
        self._sandbox_url = sandbox_url.rstrip("/") if sandbox_url else None
        self.limits = limits or Limits()
        self._lifetime, self._patience = math.ceil(lifetime), patience
        self._without = promises_named(without) | _NEEDLESS
        self._http: aiohttp.ClientSession | None = None
        self._control: ControlPlane | None = None
        self._sandboxes: dict[str, E2BSandbox] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def probe(self) -> Promises:
        """What a service with this API promises; whether this one keeps it nobody can see from here."""
        return _PROMISES

    async def open(self) -> None:
        """Finds the service.

        Raises:
            ConfigError: it does not know the key, or a promise is asked for that it cannot keep.
            SandboxFailed: nobody answers.
        """
        missing = {promise: why for promise, why in _PROMISES.broken.items() if promise not in self._without}
        if missing:
            reasons = "; ".join(f"{promise.value} ({why})" for promise, why in missing.items())
            names = ", ".join(f"Promise.{promise.name}" for promise in missing)
            raise ConfigError(f"E2B cannot promise {reasons}. without=[{names}] says that the rest will do")
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._control = ControlPlane(self._http, self._url, self._key, self._patience)
        try:
            await self._control.check()
        except BaseException:
            await self.close()
            raise
        self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="agentenv-e2b-lifetimes")

    async def create(self, limits: Limits | None = None) -> E2BSandbox:
        wanted = limits or self.limits
        control, http = self._opened()
        view = await control.create(
            NewSandbox(
                templateID=self._template,
                timeout=self._lifetime,
                allow_internet_access=wanted.network is Network.HOST,
                network=_egress(wanted),
                metadata={"made-by": "agentenv"},
            )
        )
        url = self._sandbox_url or f"https://{PORT}-{view.id}.{view.domain or self._domain}"
        headers = {"E2b-Sandbox-Id": view.id, "E2b-Sandbox-Port": str(PORT)}
        if view.access_token:
            headers["X-Access-Token"] = view.access_token
        sandbox = self._sandboxes[view.id] = E2BSandbox(self, view.id, wanted, Envd(http, url, headers))
        return sandbox

    async def end(self, sandbox: E2BSandbox) -> None:
        """Ends the machine of a sandbox; one that cannot be told ends when its lifetime is over."""
        self._sandboxes.pop(sandbox.key, None)
        with contextlib.suppress(AgentenvError):
            control, _ = self._opened()
            await control.kill(sandbox.key)

    async def close(self) -> None:
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait([renewing])
        try:
            async with asyncio.TaskGroup() as group:
                for sandbox in list(self._sandboxes.values()):
                    group.create_task(sandbox.close())
        finally:
            http, self._http, self._control = self._http, None, None
            if http is not None:
                await http.close()

    def _opened(self) -> tuple[ControlPlane, aiohttp.ClientSession]:
        if self._control is None or self._http is None:
            raise SandboxFailed("the E2B sandboxes are not open")
        return self._control, self._http

    async def _renew(self) -> None:
        """Lets all machines live on, and tells those that are gone."""
        while True:
            await asyncio.sleep(self._lifetime / 3)
            async with asyncio.TaskGroup() as group:
                for sandbox in list(self._sandboxes.values()):
                    group.create_task(self._renew_one(sandbox))

    async def _renew_one(self, sandbox: E2BSandbox) -> None:
        # A sign of life that is not heard is followed by others, and a machine that has ended is told by one that is.
        with contextlib.suppress(AgentenvError):
            control, _ = self._opened()
            if not await control.renew(sandbox.key, self._lifetime):
                self._sandboxes.pop(sandbox.key, None)
                sandbox.lost("its lifetime was over")


def _egress(limits: Limits) -> Egress | None:
    """The list of what may be reached, which the service lets pass although everything is denied."""
    if limits.network is not Network.LISTED:
        return None
    return Egress(allow_out=list(limits.reachable), deny_out=[_EVERYTHING])
