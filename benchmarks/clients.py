"""What one model call costs the client: aiohttp itself against the ``openai`` client on two transports.

One request at a time from each of many coroutines, so that many are in flight at once: where a connection pool that
looks through its queue shows. Each client runs in a process of its own, opens its connections before the measured
run, and they take turns.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

from benchmarks.client_runner import ClientKind
from benchmarks.measure import Report
from benchmarks.processes import mock_server, run_module
from benchmarks.result import Result, Table, milliseconds

IN_FLIGHT = 1000
CALLS_EACH = 3
LATENCY_S = 1.0


def run(rounds: int = 3) -> Result:
    costs: dict[ClientKind, list[float]] = defaultdict(list)
    versions: dict[ClientKind, str] = {}
    calls = str(CALLS_EACH * IN_FLIGHT)
    with mock_server("benchmarks.workload:answer", latency=str(LATENCY_S)) as base_url:
        for _ in range(rounds):
            for kind in ClientKind:
                arguments = [kind, "--base-url", base_url, "--concurrency", str(IN_FLIGHT), "--sizes", calls]
                report = Report.parse(run_module("benchmarks.client_runner", arguments))
                costs[kind].append(report.runs[-1].cpu_s / report.runs[-1].rollouts)
                versions[kind] = report.version
    medians = {kind: statistics.median(found) for kind, found in costs.items()}
    best = medians[ClientKind.AIOHTTP]
    rows = [
        [f"{kind.label} {versions[kind]}", milliseconds(median), f"{median / best:.1f} ×"]
        for kind, median in medians.items()
    ]
    on_aiohttp, on_httpx = medians[ClientKind.OPENAI_AIOHTTP] / best, medians[ClientKind.OPENAI_HTTPX] / best
    verdict = (
        f"A model call at {IN_FLIGHT:,} in flight costs the client {milliseconds(best)} ms of CPU with aiohttp itself; "
        f"with the `openai` client {on_aiohttp:.1f} times that on its aiohttp transport and {on_httpx:.1f} times on "
        "httpx."
    )
    table = Table(["client", "CPU a call, ms", "relative"], rows)
    return Result("clients", verdict, table, {"in_flight": IN_FLIGHT, "latency_s": LATENCY_S, "cpu_s_a_call": costs})
