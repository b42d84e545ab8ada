"""From a hundred concurrent episodes to ten thousand: does an episode cost more when more are waiting beside it?

The mock model answers only when exactly so many requests wait for it, so the concurrency is real at every size.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict

from benchmarks.measure import raise_file_limit
from benchmarks.processes import mock_server, run_module
from benchmarks.result import Result, Table, milliseconds

EPISODES = {100: 3000, 1000: 5000, 10_000: 20_000}
"""Episodes measured, by how many wait at a time."""


def run(rounds: int = 3) -> Result:
    largest = max(EPISODES)
    if raise_file_limit() < largest + 100:
        raise RuntimeError(f"{largest:,} connections need a hard limit of open files above that; see ulimit -Hn.")
    measured: dict[str, dict[int, list[float]]] = {what: defaultdict(list) for what in ("cpu", "resident", "traced")}
    with mock_server("benchmarks.workload:answer_together", latency="0") as base_url:
        for number in range(rounds):
            for size, episodes in EPISODES.items():
                for what, found in measured.items():
                    if what == "traced" and number > 0:
                        continue  # the same to the byte every time, and slow
                    arguments = [what, "--base-url", base_url, "--concurrency", str(size), "--episodes", str(episodes)]
                    found[size].append(json.loads(run_module("benchmarks.waiting_runner", arguments)))
    return _result(measured)


def _result(measured: dict[str, dict[int, list[float]]]) -> Result:
    medians = {what: {size: statistics.median(found[size]) for size in EPISODES} for what, found in measured.items()}
    cpu, small, large = medians["cpu"], min(EPISODES), max(EPISODES)
    slope = (cpu[large] - cpu[small]) / (large - small)
    resident = medians["resident"][large] / 1024
    verdict = (
        f"An episode costs {milliseconds(cpu[small])} ms of CPU with {small} waiting and {milliseconds(cpu[large])} ms "
        f"with {large:,}: {cpu[large] / cpu[small]:.2f} times as much, {slope * 1e9:.0f} ns more for each episode that "
        f"waits beside it. A waiting episode holds {resident:.0f} KiB of resident memory."
    )
    rows = [
        [
            f"{size:,}",
            milliseconds(cpu[size]),
            f"{cpu[size] / cpu[small]:.2f}",
            f"{medians['resident'][size] / 1024:.1f}",
            f"{medians['traced'][size] / 1024:.1f}",
        ]
        for size in EPISODES
    ]
    header = ["episodes waiting", "CPU an episode, ms", "relative", "resident, KiB", "of which Python objects, KiB"]
    return Result("waiting_episodes", verdict, Table(header, rows), measured)
