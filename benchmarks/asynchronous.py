"""Asynchronous against synchronous training where tools are slow: wall time of the same number of updates.

Both train the same warmed-up model on the calculator whose calls take a log-normal time (99th percentile: 20 medians),
with the same settings but for `staleness`, and end with the same number of updates. The reward each ends with is that
of the last quarter of them, and greedy success on held-out tasks afterwards.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.result import ROOT, Result, Table

UPDATES = 96
STALENESS = 2
MEDIAN_S = 0.08
WALL_TARGET, BUBBLE_TARGET, REWARD_WITHIN = 2.5, 0.05, 0.02

START = f"""
environment = "{ROOT}/benchmarks/slow_tools.py:SlowTools"
environment_kwargs = {{ median = 0.0001 }}
policy = "tiny:{{run}}/start"
policy_options = {{ create = true, threads = 1 }}
iterations = 0
max_tokens = 40
max_turns = 4
[warmup]
demonstrator = "careless_calculator"
demonstrator_options = {{ wrong_operator = 0.7, habitual = 0.85 }}
demonstrations = 4000
steps = 400
rows_per_step = 32
lr = 3e-3
[learner]
threads = 1
[evaluation]
tasks = 20
"""

RUN = f"""
environment = "{ROOT}/benchmarks/slow_tools.py:SlowTools"
environment_kwargs = {{ median = {MEDIAN_S} }}
policy = "tiny:START"
policy_options = {{ threads = 1 }}
iterations = {UPDATES}
tasks_per_iteration = 32
siblings = 8
max_tokens = 40
max_turns = 4
checkpoint_every = 1000
[loss]
proximal = "log_linear"
correction = {{ kind = "token", cap = 2.0 }}
[learner]
lr = 3e-4
minibatches = 2
threads = 1
[evaluation]
every = 1000
tasks = 200
[rollout]
max_concurrent = 2048
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """One run.

    Attributes:
        seconds: from the start of the first rollout to the last update's weights being served.
        bubble: share of that in which the policy had no call in flight.
        reward: mean of the last quarter of the iterations. success: greedy, on the evaluation's tasks afterwards.
        staleness: mean over trained tokens of all updates, in versions.
    """

    seconds: float
    bubble: float
    reward: float
    success: float
    staleness: float


def run(rounds: int = 1) -> Result:
    found: dict[int, list[Trained]] = {0: [], STALENESS: []}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "warm"
        _train(Path(folder) / "warm.toml", START, start, [])
        model = start / "checkpoints" / "best-000000"
        for number in range(rounds):
            for staleness, runs in found.items():
                out = Path(folder) / f"{staleness}-{number}"
                text = RUN.replace("START", str(model))
                _train(Path(folder) / "run.toml", text, out, ["--staleness", str(staleness), "--seed", str(number)])
                runs.append(_read(out))
    return _result(found)


def _train(file: Path, text: str, out: Path, settings: list[str]) -> None:
    file.write_text(text)
    program = [sys.executable, "-m", "agentenv", "train", str(file), "--out", str(out), *settings]
    subprocess.run(program, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def _read(folder: Path) -> Trained:
    lines: list[dict[str, Any]] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    iterations = [line for line in lines if line["kind"] == "iteration"]
    seconds = [line["wall_seconds"] for line in iterations]
    whole = sum(seconds)
    return Trained(
        seconds=whole,
        bubble=sum(line["bubble"] * each for line, each in zip(iterations, seconds, strict=True)) / whole,
        reward=statistics.fmean(line["reward_mean"] for line in iterations[-len(iterations) // 4 :]),
        success=[line for line in lines if line["kind"] == "evaluation"][-1]["success"]["rate"],
        staleness=statistics.fmean(line["staleness_mean"] for line in iterations),
    )


def _result(found: dict[int, list[Trained]]) -> Result:
    medians = {
        staleness: Trained(*(statistics.median(values) for values in zip(*map(_values, runs), strict=True)))
        for staleness, runs in found.items()
    }
    taking_turns, overlapping = medians[0], medians[STALENESS]
    ratio = taking_turns.seconds / overlapping.seconds
    as_good = overlapping.reward >= taking_turns.reward - REWARD_WITHIN
    met = ratio >= WALL_TARGET and overlapping.bubble < BUBBLE_TARGET and as_good
    verdict = (
        f"{UPDATES} updates take {taking_turns.seconds:.0f} s when rollouts and updates take turns and "
        f"{overlapping.seconds:.0f} s with staleness {STALENESS}: {ratio:.1f} times less (target: {WALL_TARGET}). The "
        f"policy has nothing to do in {overlapping.bubble:.1%} of the time, where it was {taking_turns.bubble:.0%} "
        f"(target: below {BUBBLE_TARGET:.0%}). The reward at the end is {overlapping.reward:.3f} against "
        f"{taking_turns.reward:.3f} (target: at most {REWARD_WITHIN} less): {'met' if met else 'MISSED'}."
    )
    header = ["staleness allowed", "seconds", "bubble", "reward at the end", "greedy success", "mean staleness"]
    rows = [
        [
            str(staleness),
            f"{one.seconds:.0f}",
            f"{one.bubble:.1%}",
            f"{one.reward:.3f}",
            f"{one.success:.2f}",
            f"{one.staleness:.2f}",
        ]
        for staleness, one in medians.items()
    ]
    data = {str(staleness): [asdict(one) for one in runs] for staleness, runs in found.items()}
    return Result("asynchronous", verdict, Table(header, rows), data)


def _values(trained: Trained) -> list[float]:
    return [getattr(trained, name) for name in Trained.__slots__]
