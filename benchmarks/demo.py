"""``make demo``, over three seeds: does the policy learn, how fast, and how sure is the figure?

Each seed makes its own model, its own demonstrations and its own tasks, exactly as the command does; the tasks of the
final test are the same kind for all and seen by none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import ROOT, Result, Table

BEFORE_TARGET, AFTER_TARGET, SECONDS_TARGET = 0.4, 0.9, 360.0


@dataclass(frozen=True, slots=True)
class Seed:
    seed: int
    before: float
    after: float
    low: float
    high: float
    iterations: int
    seconds: float
    curve: list[tuple[int, float]]


def run(rounds: int = 3) -> Result:
    seeds = [_train(seed) for seed in range(rounds)]
    before, after, slowest = max(s.before for s in seeds), min(s.after for s in seeds), max(s.seconds for s in seeds)
    met = before <= BEFORE_TARGET and after >= AFTER_TARGET and slowest <= SECONDS_TARGET
    verdict = (
        f"Held-out success rises from at most {before:.3f} to at least {after:.3f} over {len(seeds)} seeds; the "
        f"slowest took {slowest:.0f} s from nothing to the report (targets: from at most {BEFORE_TARGET} to at least "
        f"{AFTER_TARGET} within {SECONDS_TARGET:.0f} s): {'met' if met else 'MISSED'}."
    )
    rows = [
        [
            str(s.seed),
            f"{s.before:.3f}",
            f"{s.after:.3f}",
            f"{s.low:.3f} to {s.high:.3f}",
            str(s.iterations),
            f"{s.seconds:.0f}",
            ", ".join(f"{iteration}: {mean:.2f}" for iteration, mean in s.curve),
        ]
        for s in seeds
    ]
    header = ["seed", "before", "after", "95 % interval", "iterations", "seconds", "dev success by iteration"]
    return Result("demo", verdict, Table(header, rows), {"seeds": [vars_of(s) for s in seeds]})


def vars_of(seed: Seed) -> dict[str, object]:
    return {name: getattr(seed, name) for name in Seed.__slots__}


def _train(seed: int) -> Seed:
    with tempfile.TemporaryDirectory() as folder:
        program = [str(Path(sys.executable).parent / "agentenv"), "train", str(ROOT / "examples" / "calculator.toml")]
        settings = ["--out", folder, "--seed", str(seed), "--policy_options.seed", str(seed)]
        started = time.perf_counter()
        subprocess.run([*program, *settings], check=True, capture_output=True)
        seconds = time.perf_counter() - started
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    tests = {line["name"]: line["success"] for line in lines if line["kind"] == "test"}
    return Seed(
        seed=seed,
        before=tests["before"]["rate"],
        after=tests["after"]["rate"],
        low=tests["after"]["low"],
        high=tests["after"]["high"],
        iterations=sum(line["kind"] == "iteration" for line in lines),
        seconds=seconds,
        curve=[(line["iteration"], line["success"]["rate"]) for line in lines if line["kind"] == "evaluation"],
    )
