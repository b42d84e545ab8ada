"""Running a model's code: walled off in a local sandbox, next to a plain Python process that is not.

They take turns, call by call. A plain process starts an interpreter each time and is free to do whatever its user can.
A local sandbox was walled off before the code came, and its interpreter is forked from one that has imported what is
wanted; the program with numpy and sympy does little, so that it is the imports that are compared. "used once" is what a
grader does: a sandbox taken from the ready ones, and thrown away, whole, after a single execution.

Beside them, in every round, SWE-ReX's local runtime, which isolates nothing: its commands are plain processes, its
sessions shells behind a pseudo terminal. SandboxFusion is not compared: on PyPI there is only its client.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from agentenv.sandbox import Limits, Sandbox
from agentenv_local import LocalSandboxes
from benchmarks.peers.install import SWEREX
from benchmarks.processes import run_module
from benchmarks.result import Result, Table, milliseconds

CALLS = 100
SIDE_BY_SIDE = 8
MATHEMATICS = "import numpy, sympy; print(sympy.Integer(6) * 7, numpy.ones(3).sum())"
SLEEPERS = 64
PEER_CALLS, PEER_SLEEPERS = 30, 4
LATENCY_TARGET, THROUGHPUT_TARGET, SLEEP_TARGET, FORK_TARGET = 0.5, 20.0, 1.5, 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """One round. Seconds, but for the rates, which are executions a second.

    Attributes:
        plain, again, once: `print(1)` in a plain process, in a sandbox that has run before, in one used once.
        laden: in one used once, of a zygote that has imported numpy and sympy: a larger process to fork.
        plain_rate, rate: `MATHEMATICS`, eight at a time.
        sleeping: 64 sessions that sleep for a second each. forking: a live session.
        peer_command, peer_session: `print(1)` by SWE-ReX. peer_sleeping: four of its sessions that sleep for a second.
    """

    plain: float
    again: float
    once: float
    laden: float
    plain_rate: float
    rate: float
    sleeping: float
    forking: float
    peer_command: float
    peer_session: float
    peer_sleeping: float


def run(rounds: int = 5) -> Result:
    SWEREX.install()
    found = [asyncio.run(_measure()) for _ in range(rounds)]
    middle = Measured(*(statistics.median(values) for values in zip(*map(_values, found), strict=True)))
    ratio, faster = middle.once / middle.plain, middle.rate / middle.plain_rate
    met = (
        ratio <= LATENCY_TARGET
        and faster >= THROUGHPUT_TARGET
        and middle.sleeping < SLEEP_TARGET
        and middle.forking <= FORK_TARGET
    )
    verdict = (
        f"`print(1)` in a sandbox used once takes {milliseconds(middle.once)} ms, {ratio:.2f} of a plain process's "
        f"{milliseconds(middle.plain)} (target: at most {LATENCY_TARGET}). With numpy and sympy imported beforehand "
        f"{middle.rate:.0f} executions a second, {faster:.0f} times a plain process's {middle.plain_rate:.1f} (target: "
        f"{THROUGHPUT_TARGET:.0f}). {SLEEPERS} sessions that sleep for a second end after {middle.sleeping:.2f} s "
        f"(target: {SLEEP_TARGET}), and a live session is forked in {milliseconds(middle.forking)} ms (target: "
        f"{milliseconds(FORK_TARGET)}): {'met' if met else 'MISSED'}."
    )
    rows = [
        ["`print(1)`, a plain process", f"{milliseconds(middle.plain)} ms"],
        ["`print(1)`, a sandbox used once", f"{milliseconds(middle.once)} ms"],
        ["`print(1)`, a sandbox used before", f"{milliseconds(middle.again)} ms"],
        ["`print(1)`, a sandbox used once, numpy and sympy imported", f"{milliseconds(middle.laden)} ms"],
        ["numpy and sympy, plain processes, a second", f"{middle.plain_rate:.1f}"],
        ["numpy and sympy, sandboxes, a second", f"{middle.rate:.0f}"],
        [f"{SLEEPERS} sessions sleeping for 1 s", f"{middle.sleeping:.2f} s"],
        ["forking a live session", f"{milliseconds(middle.forking)} ms"],
        [f"`print(1)`, a command of SWE-ReX {SWEREX.version}, not isolated", f"{milliseconds(middle.peer_command)} ms"],
        ["`print(1)`, in a session of SWE-ReX", f"{milliseconds(middle.peer_session)} ms"],
        [f"{PEER_SLEEPERS} sessions of SWE-ReX sleeping for 1 s", f"{middle.peer_sleeping:.2f} s"],
    ]
    return Result("sandbox_local", verdict, Table(["what", "median"], rows), {"rounds": [asdict(one) for one in found]})


async def _measure() -> Measured:
    limits = Limits(pids=128)
    async with LocalSandboxes(limits=limits, warm=4) as bare:
        kept = await bare.create()
        async with LocalSandboxes(limits=limits, preload=["numpy", "sympy"], warm=4) as laden:
            contestants = (lambda: _plain("print(1)"), lambda: _again(kept), lambda: _once(bare), lambda: _once(laden))
            calls = await _in_turns(contestants)
            plain_rate = await _rate(lambda: _plain(MATHEMATICS), 3 * SIDE_BY_SIDE)
            async with laden.sandbox() as one:
                rate = await _rate(lambda: _checked(one), 20 * SIDE_BY_SIDE)
                sleeping, forking = await _sleep(one), await _fork(one)
    arguments = ["--calls", str(PEER_CALLS), "--sleepers", str(PEER_SLEEPERS)]
    peer = json.loads(run_module(SWEREX.runner, arguments, SWEREX.python).splitlines()[-1])
    peers = (peer["command"], peer["session"], peer["slept"])
    return Measured(*calls, plain_rate, rate, sleeping, forking, *peers)


async def _again(sandbox: Sandbox) -> None:
    assert (await sandbox.run_python("print(1)")).ok


async def _once(sandboxes: LocalSandboxes) -> None:
    async with sandboxes.sandbox() as fresh:
        assert (await fresh.run_python("print(1)")).ok


async def _in_turns(contestants: tuple[Callable[[], Awaitable[None]], ...]) -> list[float]:
    """The median seconds of each, called one after another."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(CALLS):
        for taken, contestant in zip(seconds, contestants, strict=True):
            began = time.perf_counter()
            await contestant()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


async def _plain(code: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()
    assert process.returncode == 0


async def _checked(sandbox: Sandbox) -> None:
    result = await sandbox.run_python(MATHEMATICS)
    assert result.stdout.text == "42 3.0\n", result


async def _rate(call: Callable[[], Awaitable[None]], count: int) -> float:
    """Calls a second, several at a time."""
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one() -> None:
        async with places:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def _sleep(sandbox: Sandbox) -> float:
    sessions = [await sandbox.python() for _ in range(SLEEPERS)]
    began = time.perf_counter()
    results = await asyncio.gather(*(session.run("import time; time.sleep(1)") for session in sessions))
    seconds = time.perf_counter() - began
    assert all(result.ok for result in results)
    for session in sessions:
        await session.close()
    return seconds


async def _fork(sandbox: Sandbox) -> float:
    async with await sandbox.python() as session:
        await session.run("import numpy; x = numpy.ones(1000)")
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            fork = await session.fork()
            seconds.append(time.perf_counter() - began)
            await fork.close()
    return statistics.median(seconds)


def _values(measured: Measured) -> list[float]:
    return [getattr(measured, name) for name in Measured.__slots__]
