"""Parts that backends are made of: a command line, a watch over an execution, why it ended, a copy of a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agentenv.errors import ConfigError
from agentenv.sandbox.contract import Sandbox
from agentenv.sandbox.errors import SandboxFailed
from agentenv.sandbox.limits import Limits
from agentenv.sandbox.result import Cause

_CPU_LOOK_SECONDS = 0.1
S = TypeVar("S", bound=Sandbox)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended, as whoever waits for its process inside the sandbox saw it.

    Attributes:
        code: as in `ExecResult.exit_code`; `None` where there is none.
        full: whether the private files had no room left. refusal: why it could not be started; empty if it was.
    """

    code: int | None
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    full: bool = False
    refusal: str = ""


def argv_of(command: Sequence[str] | str) -> list[str]:
    """A command as a list of arguments.

    >>> argv_of("ls | wc -l")
    ['/bin/sh', '-c', 'ls | wc -l']
    """
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(part) for part in command]
    if not argv:
        raise ConfigError("a command needs at least the name of a program")
    return argv


def cause_of(ended: Ended, limits: Limits) -> Cause | None:
    """Why it ended, as far as its end alone tells; `None` where only what the sandbox has counted can.

    >>> cause_of(Ended(0), Limits())
    <Cause.OK: 'ok'>
    """
    if ended.code == 0:
        return Cause.OK
    if ended.refusal:
        return Cause.PIDS
    if ended.code == -signal.SIGXCPU or (ended.code == -signal.SIGKILL and ended.cpu_seconds >= limits.cpu_seconds):
        return Cause.CPU
    return None


@contextlib.asynccontextmanager
async def watched(
    limits: Limits, wall_seconds: float, cpu_seconds: Callable[[], Awaitable[float]], stop: Callable[[Cause], None]
) -> AsyncIterator[None]:
    """Stops an execution that goes on for too long, or computes for too long, until the end of the block.

    Args:
        cpu_seconds: of all processes of the sandbox so far; raises `SandboxFailed` where it is gone.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(wall_seconds, stop, Cause.WALL)
    soonest = limits.cpu_seconds / (os.cpu_count() or 1)
    look = None
    if soonest < wall_seconds:
        look = loop.create_task(_watch_cpu(limits.cpu_seconds, soonest, cpu_seconds, stop))
    try:
        yield
    finally:
        timer.cancel()
        if look is not None:
            look.cancel()
            await asyncio.wait([look])


async def _watch_cpu(
    limit: float, soonest: float, cpu_seconds: Callable[[], Awaitable[float]], stop: Callable[[Cause], None]
) -> None:
    """Nobody can have used up the time of the processors before `soonest`; from then on it is looked at."""
    await asyncio.sleep(min(_CPU_LOOK_SECONDS, soonest))
    with contextlib.suppress(SandboxFailed):  # whoever waits for the execution hears of that too
        before, pause = await cpu_seconds(), soonest - _CPU_LOOK_SECONDS
        while await cpu_seconds() - before < limit:
            await asyncio.sleep(max(pause, _CPU_LOOK_SECONDS))
            pause = 0.0
        stop(Cause.CPU)


async def copy_of(sandbox: Sandbox, create: Callable[[Limits], Awaitable[S]]) -> S:
    """A new sandbox with the limits of another and its files; for `Sandbox.fork`."""
    snapshot = await sandbox.snapshot()
    other = await create(sandbox.limits)
    try:
        await other.restore(snapshot)
    except BaseException:
        await other.close()
        raise
    return other
