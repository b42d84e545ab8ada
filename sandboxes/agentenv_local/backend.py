"""Sandboxes on this machine, made by a zygote that runs beside this process."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Collection, Sequence

from agentenv.errors import ConfigError
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
from agentenv_local import wire
from agentenv_local.channel import Channel
from agentenv_local.jail.cgroups import Counted
from agentenv_local.promises import Host, promises
from agentenv_local.sandbox import Keeper, Limited, LocalSandbox

_COMMANDS = {Isolation.NAMESPACES: "namespaces", Isolation.RESTRICTED: "restricted"}
"""What the zygote calls them."""
_START_SECONDS = 60.0
"""How long the zygote's imports may take."""
_ANSWER_SECONDS = 20.0
"""How long the zygote may say nothing at all while somebody waits."""
_QUEUE_SECONDS = 300.0
"""How long a request may wait behind others that are answered."""
_END_SECONDS = 10.0


class LocalSandboxes(SandboxBackend):
    """Sandboxes walled off by the kernel, each ready before it is asked for.

    Args:
        isolation: `NAMESPACES`, or `RESTRICTED` for a host where nobody may make any, such as a container: programs are
            held by Landlock, a filter of system calls and a user of their own. Never chosen by itself.
        limits: of sandboxes that are created without any of their own.
        preload: modules that are imported once, in the zygote, and are there at once in `run_python` and sessions.
        warm: how many sandboxes with `limits` wait ready.
        without: promises that this host need not keep; `probe` tells which it cannot.

    Example:
        async with LocalSandboxes(preload=["numpy"]) as sandboxes, sandboxes.sandbox() as sandbox:
            result = await sandbox.run_python("import numpy; print(numpy.ones(3).sum())")
    """

    name = "local"

    def __init__(
        self,
        *,
        isolation: Isolation = Isolation.NAMESPACES,
        limits: Limits | None = None,
        preload: Sequence[str] = (),
        warm: int = 2,
        without: Collection[Promise] = (),
    ) -> None:
        if warm < 0:
            raise ConfigError(f"warm is how many sandboxes wait ready, got {warm}")
        if isolation not in _COMMANDS:
            able = " or ".join(str(one) for one in _COMMANDS)
            raise ConfigError(f"local sandboxes have the isolation {able}, not {str(isolation)!r}")
        self.isolation = Isolation(isolation)
        self.limits = limits or Limits()
        self._preload, self._warm, self._without = tuple(preload), warm, promises_named(without)
        self._promises: Promises | None = None
        self._limited = Limited.TOGETHER
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._numbers = itertools.count(1)
        self._sandboxes: dict[int, LocalSandbox] = {}
        self._answers: dict[tuple[str, int], asyncio.Future[wire.Message]] = {}
        self._ready: collections.deque[LocalSandbox] = collections.deque()
        self._wanted = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._end = "it was not opened"
        self._heard_at = 0.0

    @property
    def alive(self) -> bool:
        return not self._end

    @property
    def pid(self) -> int:
        """Of the zygote."""
        if self._process is None:
            raise SandboxFailed("the local sandboxes are not open")
        return self._process.pid

    @property
    def promises(self) -> Promises:
        """What these sandboxes are held to, once they are open."""
        if self._promises is None:
            raise SandboxFailed("the local sandboxes are not open")
        return self._promises

    async def probe(self) -> Promises:
        from agentenv_local.probe import probe

        return await probe(self.isolation)

    async def open(self) -> None:
        """Starts the zygote.

        Raises:
            ConfigError: a module cannot be imported beforehand, or the host cannot keep a promise.
            SandboxFailed: it did not start.
        """
        mine, theirs = socket.socketpair()
        self._channel = Channel(mine, self._heard, self._lost)
        ready = self._expect("ready", 0)
        program = [sys.executable, "-I", "-m", "agentenv_local.inside.zygote"]
        command = [*program, str(theirs.fileno()), _COMMANDS[self.isolation], *self._preload]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._end = ""
        answer = await self._answer(ready, _START_SECONDS)
        if "error" in answer:
            await self.close()
            raise ConfigError(f"the local sandboxes cannot start: {answer['error']}")
        host = Host(answer["landlock"], answer["groups"], answer["users"])
        self._promises = promises(self.isolation, host)
        own_user = host.users or self.isolation is Isolation.NAMESPACES
        self._limited = Limited.TOGETHER if host.groups else Limited.USER if own_user else Limited.EACH
        missing = {promise: why for promise, why in self._promises.broken.items() if promise not in self._without}
        if missing:
            await self.close()
            reasons = "; ".join(f"{promise.value} ({why})" for promise, why in missing.items())
            names = ", ".join(f"Promise.{promise.name}" for promise in missing)
            raise ConfigError(f"this host cannot promise {reasons}. without=[{names}] says that the rest will do")
        self._wanted.set()
        self._filling = asyncio.get_running_loop().create_task(self._fill(), name="agentenv-local-warm")

    async def create(self, limits: Limits | None = None) -> LocalSandbox:
        wanted = limits or self.limits
        if wanted.network is not Network.NONE:
            raise ConfigError("local sandboxes reach no network; use a backend that can, or Network.NONE")
        if wanted == self.limits and self._warm:
            self._wanted.set()
            if self._ready:
                return self._ready.popleft()
        return await self._make(wanted)

    async def close(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxFailed):
                await self._filling
            self._filling = None
        self._end = self._end or "it was closed"
        if self._channel is not None:
            self._channel.close()
            self._lost()
        if self._process is not None and self._process.returncode is None:
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _fill(self) -> None:
        """Keeps as many sandboxes ready as are wanted."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(SandboxFailed):  # whoever creates the next one is told, and wakes this again
                while len(self._ready) < self._warm:
                    self._ready.append(await self._make(self.limits))

    async def _make(self, limits: Limits) -> LocalSandbox:
        number = next(self._numbers)
        mine, theirs = socket.socketpair()
        keeper = Keeper(self.create, self._count, self._destroy)
        message = {
            "op": "create",
            "id": number,
            "memory": limits.memory_bytes,
            "pids": limits.pids,
            "disk": limits.disk_bytes,
            "files": limits.files,
        }
        made = self._expect("made", number)
        sandbox = self._sandboxes[number] = LocalSandbox(number, limits, mine, keeper, self.isolation, self._limited)
        try:
            self._tell(message, (theirs.detach(),))
            answer = await self._answer(made, _ANSWER_SECONDS)
            if "error" in answer:
                raise SandboxFailed(f"no sandbox could be made: {answer['error']}{_advice(self.isolation, answer)}")
        except BaseException:
            self._destroy(number)
            sandbox.gone(Counted())
            self._sandboxes.pop(number, None)
            raise
        return sandbox

    async def _count(self, number: int) -> Counted:
        counted = self._expect("counted", number)
        self._tell({"op": "count", "id": number})
        answer = await self._answer(counted, _ANSWER_SECONDS)
        return _counts(answer)

    def _destroy(self, number: int) -> None:
        with contextlib.suppress(SandboxFailed):
            self._tell({"op": "destroy", "id": number})

    def _tell(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        try:
            if self._channel is None:
                raise BrokenPipeError
            self._channel.send(message, descriptors)
        except BrokenPipeError:
            raise SandboxFailed(f"the zygote of the local sandboxes is gone: {self._end or 'it ended'}") from None

    def _expect(self, what: str, number: int) -> asyncio.Future[wire.Message]:
        """The future of an answer; several who ask for the same share it."""
        key = (what, number)
        future = self._answers.get(key)
        if future is None or future.done():
            future = self._answers[key] = asyncio.get_running_loop().create_future()
        return future

    async def _answer(self, future: asyncio.Future[wire.Message], seconds: float) -> wire.Message:
        """Waits while the zygote goes on answering others, too: a long queue is no failure."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not future.done():
            silent_until = min(max(began, self._heard_at) + seconds, began + _QUEUE_SECONDS)
            if loop.time() >= silent_until:
                raise SandboxFailed(f"the zygote of the local sandboxes has not answered for {seconds:g} s")
            await asyncio.wait((future,), timeout=silent_until - loop.time())
        return future.result()

    def _heard(self, message: wire.Message) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        match message:
            case {"ready": _}:
                self._settle("ready", 0, message)
            case {"failed": None}:
                self._settle("ready", 0, message)
            case {"created": number} | {"failed": number}:
                self._settle("made", number, message)
            case {"counted": number}:
                self._settle("counted", number, message)
            case {"gone": number}:
                self._settle("counted", number, message)
                sandbox = self._sandboxes.pop(number, None)
                if sandbox is not None:
                    if sandbox in self._ready:
                        self._ready.remove(sandbox)
                        self._wanted.set()
                    sandbox.gone(_counts(message))

    def _settle(self, what: str, number: int, message: wire.Message) -> None:
        future = self._answers.pop((what, number), None)
        if future is not None and not future.done():
            future.set_result(message)

    def _lost(self) -> None:
        """The zygote is gone, and every sandbox with it."""
        self._end = self._end or "it ended"
        for future in self._answers.values():
            if not future.done():
                future.set_result({"error": f"the zygote is gone: {self._end}"})
        self._answers.clear()
        self._ready.clear()
        for sandbox in list(self._sandboxes.values()):
            sandbox.gone(Counted())
        self._sandboxes.clear()


def _environment() -> dict[str, str]:
    """All that programs find in theirs: nothing of this process's."""
    path = f"{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"PATH": path, "LANG": "C.UTF-8", "USER": "sandbox", **one_thread}


def _advice(isolation: Isolation, answer: wire.Message) -> str:
    """What else could be tried on a host that refuses namespaces."""
    if isolation is Isolation.NAMESPACES and "namespaces: " in answer["error"]:
        return ". isolation=Isolation.RESTRICTED needs no namespaces, and promises less"
    return ""


def _counts(message: wire.Message) -> Counted:
    return Counted(**{name: message.get(name, 0) for name in Counted.__slots__})
