"""Runs the benchmarks named, or all, and rewrites their tables in BENCHMARKS.md.

python -m benchmarks [--rounds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from benchmarks.result import Result

NAMES = (
    "demo",
    "single_turn",
    "many_episodes",
    "slow_episode",
    "waiting_episodes",
    "clients",
    "gateway_latency",
    "gateway_cpu",
    "gateway_throughput",
    "gateway_sessions",
    "environment_server",
    "weight_update",
    "learner_step",
    "row_views",
    "asynchronous",
    "learners",
    "sandbox_local",
    "sandbox_backends",
    "sandbox_leaks",
    "mcp_calls",
    "bfcl_replay",
    "core_install",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--rounds", type=int, help="rounds of each; default: as many as each needs")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in given.names or NAMES:
        started = time.perf_counter()
        run = importlib.import_module(f"benchmarks.{name}").run
        result: Result = run(given.rounds) if given.rounds else run()
        result.save()
        seconds = time.perf_counter() - started
        print(f"{name} ({seconds:.0f} s): {result.verdict}\n\n{result.table.markdown()}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Stopped; tables of the benchmarks that were finished are written.", file=sys.stderr)
        sys.exit(130)
