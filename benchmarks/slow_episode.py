"""Sixty-four episodes of which one meets a slow environment: who else is late?"""

from __future__ import annotations

import json
import statistics

from benchmarks.environments import SLOW_S, TURNS
from benchmarks.processes import mock_server, run_module
from benchmarks.result import Result, Table

EPISODES = 64
LATENCY_S = 1.0
IDEAL_S = TURNS * LATENCY_S


def run(rounds: int = 3) -> Result:
    slow: list[float] = []
    others: list[list[float]] = []
    with mock_server("benchmarks.workload:answer", latency=str(LATENCY_S)) as base_url:
        for _ in range(rounds):
            arguments = ["OneSlow", "--base-url", base_url, "--episodes", str(EPISODES)]
            first, *rest = json.loads(run_module("benchmarks.episodes_runner", arguments))["seconds"]
            slow.append(first)
            others.append(rest)
    latest = max(max(rest) for rest in others)
    verdict = (
        f"With one environment that takes {SLOW_S:.0f} s in one of its turns, its own episode takes "
        f"{statistics.median(slow):.2f} s; the latest of the other {EPISODES - 1} takes {latest:.2f} s, where "
        f"{IDEAL_S:.0f} s is the ideal. With a barrier between turns all of them would take {IDEAL_S + SLOW_S:.0f} s."
    )
    rows = [
        ["the slow one", f"{IDEAL_S + SLOW_S:.1f}", f"{statistics.median(slow):.2f}", f"{max(slow):.2f}"],
        [
            f"the other {EPISODES - 1}",
            f"{IDEAL_S:.1f}",
            f"{statistics.median(seconds for rest in others for seconds in rest):.2f}",
            f"{latest:.2f}",
        ],
    ]
    table = Table(["episode", "ideal, s", "median, s", "latest, s"], rows)
    return Result("slow_episode", verdict, table, {"slow_s": slow, "others_s": others})
