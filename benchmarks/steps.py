"""Steps of an environment over the wire: how both sides are timed. Standard library only."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from benchmarks.measure import cpu_seconds

MESSAGE = "The cat sat on the mat."
"""What every client says in every step, and every server says back."""

Step = Callable[[], Awaitable[None]]
"""One step of one session, its reply checked."""


@dataclass(frozen=True, slots=True)
class StepRun:
    """One measured run.

    Attributes:
        sessions: at a time; each waits for its reply before it goes on.
        steps: over all sessions.
        wall_s: from the first step to the last reply.
        p50_s, p99_s: of one step, as its session saw it.
        client_cpu_s, server_cpu_s: user and system time of the two processes.
    """

    sessions: int
    steps: int
    wall_s: float
    p50_s: float
    p99_s: float
    client_cpu_s: float
    server_cpu_s: float


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a runner prints."""

    name: str
    version: str
    runs: tuple[StepRun, ...]

    def print(self) -> None:
        print(json.dumps(asdict(self)), flush=True)

    @classmethod
    def parse(cls, text: str) -> StepReport:
        """Read the last line of a runner's output."""
        body = json.loads(text.strip().splitlines()[-1])
        return cls(body["name"], body["version"], tuple(StepRun(**run) for run in body["runs"]))


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The command line every runner understands. `variant` names one of the settings the runner knows."""

    variant: str
    sessions: tuple[int, ...]
    steps: int
    warm_up: int

    @classmethod
    def parse(cls) -> StepOptions:
        parser = argparse.ArgumentParser()
        parser.add_argument("--variant", required=True)
        parser.add_argument("--sessions", type=int, nargs="+", default=[1, 32])
        parser.add_argument("--steps", type=int, default=6000, help="of each measured run, over all its sessions")
        parser.add_argument("--warm-up", type=int, default=1000)
        found = parser.parse_args()
        return cls(found.variant, tuple(found.sessions), found.steps, found.warm_up)

    def arguments(self) -> list[str]:
        """The command line that parses to this."""
        counts = [str(count) for count in self.sessions]
        sizes = ["--steps", str(self.steps), "--warm-up", str(self.warm_up)]
        return ["--variant", self.variant, *sizes, "--sessions", *counts]


async def measure(sessions: Sequence[Step], options: StepOptions, server: int) -> StepRun:
    """Plays the sessions side by side, after a warm-up. `server` is the process id of the other side."""
    await _play(sessions, options.warm_up // len(sessions))
    client_cpu, server_cpu = cpu_seconds(), process_cpu_seconds(server)
    started = time.perf_counter()
    durations = await _play(sessions, options.steps // len(sessions))
    wall = time.perf_counter() - started
    server_cpu, client_cpu = process_cpu_seconds(server) - server_cpu, cpu_seconds() - client_cpu
    cuts = statistics.quantiles(durations, n=100)
    return StepRun(len(sessions), len(durations), wall, cuts[49], cuts[98], client_cpu, server_cpu)


async def _play(sessions: Sequence[Step], steps: int) -> list[float]:
    async def play(step: Step) -> list[float]:
        durations = []
        for _ in range(steps):
            started = time.perf_counter()
            await step()
            durations.append(time.perf_counter() - started)
        return durations

    return [seconds for played in await asyncio.gather(*map(play, sessions)) for seconds in played]


def process_cpu_seconds(pid: int) -> float:
    """User and system seconds of a process, all its threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server_process(module: str, *arguments: str, patience: float = 60.0) -> Iterator[tuple[int, int]]:
    """A server in a process of its own, on a free port that is its last argument; gives (process id, port)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", module, *arguments, str(port)], stdout=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port, patience)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nobody listens on port {port} after {patience:g} s")
