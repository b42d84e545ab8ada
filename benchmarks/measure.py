"""CPU time, wall time and memory of this process, and the slopes drawn from them. Standard library only."""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run of a number of rollouts."""

    rollouts: int
    cpu_s: float
    """User and system time of this process, all its threads, no children."""
    wall_s: float
    reward_mean: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a runner prints: the library's version and its runs, in order."""

    name: str
    version: str
    runs: tuple[Run, ...]

    def print(self) -> None:
        print(json.dumps(asdict(self)), flush=True)

    @classmethod
    def parse(cls, text: str) -> Report:
        """Read the last line of a runner's output."""
        body = json.loads(text.strip().splitlines()[-1])
        return cls(body["name"], body["version"], tuple(Run(**run) for run in body["runs"]))


class Stopwatch:
    """CPU and wall seconds since it was made.

    Example:
        watch = Stopwatch()
        work()
        run = watch.run(rollouts=100, reward_mean=0.5)
    """

    def __init__(self) -> None:
        self._cpu = cpu_seconds()
        self._wall = time.perf_counter()

    def run(self, rollouts: int, reward_mean: float | None) -> Run:
        cpu, wall = cpu_seconds() - self._cpu, time.perf_counter() - self._wall
        return Run(rollouts, round(cpu, 6), round(wall, 6), reward_mean)


def cpu_seconds() -> float:
    """User and system seconds of this process so far, children not counted."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    """Resident memory of this process now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def raise_file_limit() -> int:
    """Allow as many open files (connections) as the system lets this user have; returns that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def slope(runs: Sequence[Run], of: str = "cpu_s") -> float:
    """Seconds a rollout costs at the margin: the median at the largest size minus that at the smallest, per rollout.

    Whatever a library spends once a run (opening a log, building a table) falls out of the difference.
    """
    small, large = min(run.rollouts for run in runs), max(run.rollouts for run in runs)
    if small == large:
        raise ValueError("A slope needs runs of two sizes.")
    medians = [statistics.median(getattr(run, of) for run in runs if run.rollouts == size) for size in (small, large)]
    return float((medians[1] - medians[0]) / (large - small))
