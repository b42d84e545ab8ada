"""Sandboxes that are none: for code one trusts, and for measuring what isolation costs."""

from __future__ import annotations

import itertools

from agentenv.errors import ConfigError
from agentenv.sandbox import Isolation, Limits, Network, Promise, Promises, SandboxBackend
from agentenv.threads import THREADS
from agentenv_subprocess import marks
from agentenv_subprocess.sandbox import SubprocessSandbox

_NOTHING = "a plain process of this user can do whatever this user can"


class SubprocessSandboxes(SandboxBackend):
    """Plain processes of this user, not isolated at all: for code one trusts.

    Time and output are limited, CPU, memory and the size of a file for each process; nothing else is. What it runs can
    read this user's files, reach the network, and leave processes behind until it is closed.

    Args:
        not_isolated: has to be true, so that nobody gets this backend by accident.
        limits: of sandboxes that are created without any of their own.

    Raises:
        ConfigError: nobody has said that isolation is not wanted.
    """

    name = "subprocess"

    def __init__(self, *, not_isolated: bool = False, limits: Limits | None = None) -> None:
        if not_isolated is not True:
            raise ConfigError(
                "the subprocess backend isolates nothing: what it runs can do whatever this user can. "
                "Say not_isolated=True if that is meant, or take the backend local"
            )
        self.limits = limits or Limits()
        self._numbers = itertools.count(1)
        self._sandboxes: set[SubprocessSandbox] = set()

    async def probe(self) -> Promises:
        return Promises(Isolation.NONE, {}, dict.fromkeys(Promise, _NOTHING))

    async def open(self) -> None:
        """Ends what a client that was killed has left."""
        await THREADS.run(marks.sweep)

    async def create(self, limits: Limits | None = None) -> SubprocessSandbox:
        wanted = limits or self.limits
        if wanted.network is Network.LISTED:
            raise ConfigError("plain processes reach whatever this user can; use a backend that can hold to a list")
        sandbox = await SubprocessSandbox.make(next(self._numbers), wanted, self)
        self._sandboxes.add(sandbox)
        return sandbox

    def forget(self, sandbox: SubprocessSandbox) -> None:
        """A sandbox was closed."""
        self._sandboxes.discard(sandbox)

    async def close(self) -> None:
        for sandbox in list(self._sandboxes):
            await sandbox.close()
