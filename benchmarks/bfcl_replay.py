"""BFCL's multi-turn ground truths through the full environment: tool calls a second.

Each of the 800 is reset, stepped through call by call, and judged against the states of the ground truth's own
simulators. The first time those are worked out too, once a process; every later episode of a task finds them.
"""

from __future__ import annotations

import asyncio
import statistics

from agentenv_bfcl.replay import replay_rate
from benchmarks.result import Result, Table

TARGET = 5000


def run(rounds: int = 3) -> Result:
    found = [asyncio.run(replay_rate(repeats=2)) for _ in range(rounds)]
    first = statistics.median(one[0].per_second for one in found)
    later = statistics.median(one[1].per_second for one in found)
    met = "met" if later >= TARGET else "missed"
    verdict = (
        f"{later:,.0f} tool calls a second through the full environment (target: at least {TARGET:,}): {met}. The "
        f"first time in a process, with the ground truths worked out, {first:,.0f}."
    )
    processor = [statistics.median(one[turn].per_processor_second for one in found) for turn in (0, 1)]
    rows = [
        ["the first time", f"{first:,.0f}", f"{processor[0]:,.0f}"],
        ["afterwards", f"{later:,.0f}", f"{processor[1]:,.0f}"],
    ]
    table = Table(["tool calls of 800 ground truths", "a second", "a second of processor time"], rows)
    data = {"rounds": [[(rate.per_second, rate.per_processor_second) for rate in pair] for pair in found]}
    return Result("bfcl_replay", verdict, table, data)
