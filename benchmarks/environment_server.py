"""A step over the wire, ours against OpenEnv's echo environment, side by side on one machine.

Both serve an environment that says what it is told, each from a process of its own, and both are played with the
client they come with. They take turns, round after round, and the median over the rounds counts. OpenEnv is measured
as `openenv init` writes its echo environment (a synchronous `step`, which its server runs in a thread) and, as cheap
as its own interfaces make it, with the same environment as `step_async`; ours is held against the former, which is the
echo environment, and both are in the table.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers.install import OPENENV
from benchmarks.processes import run_module
from benchmarks.result import Result, Table
from benchmarks.steps import StepOptions, StepReport, StepRun

SESSIONS = (1, 32)
STEPS = 6000
WARM_UP = 1000
TARGET_TIME = 0.5
"""Of OpenEnv's time per step, with one session."""
TARGET_RATE = 2.0
"""Times OpenEnv's steps a second, with 32."""

HERE = Path(sys.executable)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One library in one setting."""

    python: Path
    runner: str
    variant: str


OURS = Contestant(HERE, "benchmarks.environment_server_runner", "async")
THEIRS = Contestant(OPENENV.python, OPENENV.runner, "thread")
CONTESTANTS = (
    OURS,
    THEIRS,
    Contestant(HERE, "benchmarks.environment_server_runner", "thread"),
    Contestant(OPENENV.python, OPENENV.runner, "async"),
    Contestant(HERE, "benchmarks.environment_server_runner", "sockets"),
    Contestant(HERE, "benchmarks.environment_server_runner", "http"),
)


def run(rounds: int = 5) -> Result:
    OPENENV.install()
    reports: dict[Contestant, list[StepReport]] = defaultdict(list)
    for _ in range(rounds):
        for contestant in CONTESTANTS:
            options = StepOptions(contestant.variant, SESSIONS, STEPS, WARM_UP)
            text = run_module(contestant.runner, options.arguments(), contestant.python)
            reports[contestant].append(StepReport.parse(text))
    return _result(reports)


def _result(reports: dict[Contestant, list[StepReport]]) -> Result:
    rows = [_row(found) for found in reports.values()]
    ours, theirs = reports[OURS], reports[THEIRS]
    time, rate = _median(ours, 0, _seconds) / _median(theirs, 0, _seconds), _rate(ours) / _rate(theirs)
    verdict = (
        f"A step over the wire takes {_median(ours, 0, _seconds) * 1e6:.0f} µs with one session, {time:.2f} of "
        f"OpenEnv's echo environment ({_median(theirs, 0, _seconds) * 1e6:.0f} µs; target: at most {TARGET_TIME}). "
        f"With 32 sessions it is {_rate(ours):.0f} steps a second, {rate:.1f} times OpenEnv's "
        f"({_rate(theirs):.0f}; target: at least {TARGET_RATE:g})."
    )
    header = [
        "server and client",
        "1 session, µs a step",
        "p99",
        "CPU µs (server + client)",
        "32 sessions, steps/s",
        "CPU µs (server + client)",
    ]
    settings = {"sessions": SESSIONS, "steps": STEPS, "warm_up": WARM_UP}
    data = {found[0].name: [asdict(report) for report in found] for found in reports.values()}
    return Result("environment_server", verdict, Table(header, rows), settings | {"reports": data})


def _row(found: list[StepReport]) -> list[str]:
    return [
        f"{found[0].name} ({found[0].version})",
        f"{_median(found, 0, _seconds) * 1e6:.0f}",
        f"{_median(found, 0, lambda run: run.p99_s) * 1e6:.0f}",
        _cpu(found, 0),
        f"{_rate(found):.0f}",
        _cpu(found, 1),
    ]


def _seconds(run: StepRun) -> float:
    return run.p50_s


def _rate(found: list[StepReport]) -> float:
    return _median(found, 1, lambda run: run.steps / run.wall_s)


def _cpu(found: list[StepReport], which: int) -> str:
    server = _median(found, which, lambda run: run.server_cpu_s / run.steps)
    client = _median(found, which, lambda run: run.client_cpu_s / run.steps)
    return f"{server * 1e6:.0f} + {client * 1e6:.0f}"


def _median(found: list[StepReport], which: int, of: Callable[[StepRun], float]) -> float:
    """Over the rounds; `which` is the position in `SESSIONS`."""
    return statistics.median(of(report.runs[which]) for report in found)
