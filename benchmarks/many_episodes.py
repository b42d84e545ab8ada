"""A thousand episodes of five turns at once, one second of model latency: how far from the ideal five seconds?

Nothing but the model takes time here, so whatever the run takes beyond five seconds is the engine's: its own work
(every turn of every episode passes through one event loop) and any place where one episode waits for another. Beside
it, in turns, the floor of this machine: the same calls to the same server by a bare HTTP client, without any engine.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks.client_runner import ClientKind
from benchmarks.environments import TURNS
from benchmarks.measure import Report
from benchmarks.processes import mock_server, run_module
from benchmarks.result import Result, Table

EPISODES = 1000
LATENCY_S = 1.0
IDEAL_S = TURNS * LATENCY_S
TARGET = 1.15


def run(rounds: int = 5) -> Result:
    found: list[dict[str, Any]] = []
    bare: list[float] = []
    with mock_server("benchmarks.workload:answer", latency=str(LATENCY_S)) as base_url:
        for _ in range(rounds):
            arguments = ["FiveTurns", "--base-url", base_url, "--episodes", str(EPISODES)]
            timing = json.loads(run_module("benchmarks.episodes_runner", arguments))
            if timing["peak_in_flight"] != EPISODES:
                raise RuntimeError(f"Only {timing['peak_in_flight']} episodes were alive at the same time.")
            found.append(timing)
            bare.append(_bare_client(base_url))
    floor = statistics.median(bare)
    wall, start, cpu = (statistics.median(one[name] for one in found) for name in ("wall_s", "start_s", "cpu_s"))
    walls = [one["wall_s"] for one in found]
    verdict = (
        f"{EPISODES:,} concurrent episodes of {TURNS} turns take {wall:.2f} s: {wall / IDEAL_S:.2f} times the ideal "
        f"{IDEAL_S:.0f} s (target: at most {TARGET}), after a start of {start:.2f} s. "
        f"A bare aiohttp client that plays nothing takes {floor:.2f} s for the same calls."
    )
    rows = [
        ["wall from the first request to the last record, s", f"{wall:.2f}"],
        ["relative to the ideal", f"{wall / IDEAL_S:.2f}"],
        ["relative to a bare client's calls", f"{wall / floor:.2f}"],
        ["fastest to slowest round, s", f"{min(walls):.2f} to {max(walls):.2f}"],
        ["slowest episode of the median round, s", f"{statistics.median(max(t['seconds']) for t in found):.2f}"],
        ["start (imports, journal, connection), s", f"{start:.2f}"],
        ["CPU a turn, ms", f"{cpu / EPISODES / TURNS * 1000:.2f}"],
    ]
    data = {
        "bare_client_wall_s": bare,
        "rounds": [one | {"seconds": sorted(one["seconds"])[:: EPISODES // 20]} for one in found],
    }
    return Result("many_episodes", verdict, Table([f"{EPISODES:,} × {TURNS} turns", "median"], rows), data)


def _bare_client(base_url: str) -> float:
    """Seconds that as many calls take with aiohttp alone, opening its connections included."""
    sizes = ["--concurrency", str(EPISODES), "--sizes", str(EPISODES * TURNS), "--cold"]
    arguments = [ClientKind.AIOHTTP, "--base-url", base_url, *sizes]
    return Report.parse(run_module("benchmarks.client_runner", arguments)).runs[0].wall_s
