"""CPU time of a single-turn rollout, ours against verifiers and inspect-ai, side by side on one mock server.

Every library asks the same questions with the same sampling parameters and grades by the same rule (the answer occurs
in the reply). Each runs in a process of its own and they take turns, so that a noisy machine is noisy for all. The
cost is the slope between two sizes after a warm-up: start-up and whatever is spent once a run is in nobody's number.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import Report, slope
from benchmarks.peers.install import INSPECT, PEERS_INSTALLED, VERIFIERS
from benchmarks.peers.options import Options
from benchmarks.processes import mock_server, run_module
from benchmarks.result import Result, Table, milliseconds
from benchmarks.workload import EXPECTED_REWARD

SIZES = (100, 600)
CONCURRENCY = 64
LATENCY_S = 0.02
TARGET = 1 / 3
"""Of the better peer's cost."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One library in one setting."""

    label: str
    python: Path
    runner: str
    save: bool


OURS_JOURNAL = Contestant("agentenv, journal on", Path(sys.executable), "benchmarks.single_turn_runner", True)
CONTESTANTS = (
    OURS_JOURNAL,
    Contestant("agentenv, journal off", Path(sys.executable), "benchmarks.single_turn_runner", False),
    Contestant("verifiers, results not saved", VERIFIERS.python, VERIFIERS.runner, False),
    Contestant("verifiers, results saved", VERIFIERS.python, VERIFIERS.runner, True),
    Contestant("inspect-ai, samples not logged", INSPECT.python, INSPECT.runner, False),
    Contestant("inspect-ai, samples logged", INSPECT.python, INSPECT.runner, True),
)


def run(rounds: int = 5) -> Result:
    for peer in PEERS_INSTALLED:
        peer.install()
    reports: dict[Contestant, list[Report]] = defaultdict(list)
    with mock_server("benchmarks.workload:answer", latency=str(LATENCY_S)) as base_url:
        for _ in range(rounds):
            for contestant in CONTESTANTS:
                options = Options(base_url, SIZES, CONCURRENCY, contestant.save, warm_up=100)
                report = Report.parse(run_module(contestant.runner, options.arguments(), contestant.python))
                _refuse_ungraded(contestant, report)
                reports[contestant].append(report)
    return _result(reports)


def _refuse_ungraded(contestant: Contestant, report: Report) -> None:
    """A library that is fast because it graded nothing, or lost replies, is not fast."""
    for one in report.runs:
        if one.reward_mean != EXPECTED_REWARD:
            raise RuntimeError(f"{contestant.label}: mean reward {one.reward_mean}, expected {EXPECTED_REWARD}.")


def _result(reports: dict[Contestant, list[Report]]) -> Result:
    cpu = {who: statistics.median(slope(report.runs) for report in found) for who, found in reports.items()}
    wall = {who: statistics.median(slope(report.runs, "wall_s") for report in found) for who, found in reports.items()}
    better_peer = min((who for who in cpu if "agentenv" not in who.label), key=cpu.__getitem__)
    ours = cpu[OURS_JOURNAL] / cpu[better_peer]
    rows = [
        [
            f"{who.label} ({found[0].version})",
            milliseconds(cpu[who]),
            _spread([slope(report.runs) for report in found]),
            f"{cpu[who] / cpu[better_peer]:.2f}",
            f"{1 / wall[who]:.0f}",
        ]
        for who, found in reports.items()
    ]
    verdict = (
        f"A single-turn rollout costs {milliseconds(cpu[OURS_JOURNAL])} ms of CPU with the journal on: {ours:.2f} of "
        f"the better peer in its cheaper setting ({better_peer.label}, {milliseconds(cpu[better_peer])} ms). "
        f"Target: at most {TARGET:.2f}."
    )
    header = ["library", "CPU a rollout, ms", "lowest to highest round", "relative", "rollouts a second"]
    settings = {"sizes": SIZES, "concurrency": CONCURRENCY, "latency_s": LATENCY_S}
    data = {who.label: [asdict(report) for report in found] for who, found in reports.items()}
    return Result("single_turn", verdict, Table(header, rows), settings | {"reports": data})


def _spread(costs: list[float]) -> str:
    return f"{milliseconds(min(costs))} to {milliseconds(max(costs))}"
