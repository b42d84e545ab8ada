"""Which algorithm learns how long an episode: the calculator at two to four, five to six and eight calls.

Every file of `examples/horizons` is trained over its seeds from a start that its suite shares, in equal time (the
`time_limit` of the suite's `base.toml`), two runs of one thread side by side. The best model is chosen on development
tasks and tested, greedily, on 200 that neither training nor choosing has seen. What is finished lies under
`runs/horizons` and is not run again; `python -m benchmarks.learners` writes the table of that alone.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.learners_picture import draw
from benchmarks.result import ROOT, Result, Table
from examples.ablations.grid import Run, Variant
from examples.ablations.launch import RESULT, launch, make_start

HERE = ROOT / "examples" / "horizons"
OUT = ROOT / "runs" / "horizons"
JOBS = 2
SERVED_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Contest:
    """Variants that stand side by side, each with so many seeds. `server` takes the place of the embedded policy."""

    suite: str
    variants: tuple[str, ...]
    seeds: int
    server: str | None = None

    @property
    def pictured(self) -> bool:
        """Whether its learning curves may be laid side by side: by seconds, asynchronous ones have others to share."""
        return self.server is None and not any(name.endswith("_asynchronous") for name in self.variants)

    @property
    def runs(self) -> list[Run]:
        suffix = "" if self.server is None else f"_{self.server}"
        # On two cores a server that computes like vLLM takes several times as long over the same episodes.
        settings = () if self.server is None else ("--policy", self.server, "--time_limit", str(SERVED_SECONDS))
        return [
            Run(
                Variant(self.suite, name + suffix, HERE / self.suite / f"{name}.toml"),
                seed,
                OUT / self.suite / (name + suffix) / f"seed-{seed}",
                settings,
            )
            for seed in range(self.seeds)
            for name in self.variants
        ]


CONTESTS = (
    Contest("two_to_four", ("grpo", "gigpo", "ppo"), seeds=3),
    Contest("two_to_four", ("grpo_asynchronous", "gigpo_asynchronous", "ppo_asynchronous"), seeds=1),
    Contest("five_to_six", ("grpo_outcome", "grpo_by_turn", "gigpo", "ppo"), seeds=3),
    Contest("eight", ("grpo_outcome", "grpo_by_turn", "gigpo", "ppo"), seeds=1),
    Contest("two_to_four", ("grpo", "gigpo", "ppo"), seeds=1, server="vllm"),
)
STARTS = ("two_to_four", "five_to_six")
SHORT_TARGET, LONG_TARGET = 0.9, 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: greedy success on the test tasks before and after, and what it took (seconds of iterations)."""

    seed: int
    before: float
    after: float
    iterations: int
    seconds: float


def run(rounds: int | None = None) -> Result:
    """Trains what is missing; `rounds` takes the place of every contest's own number of seeds."""
    contests = [contest if rounds is None else replace(contest, seeds=rounds) for contest in CONTESTS]
    for suite in STARTS:
        make_start(HERE / suite / "start.toml", OUT / suite / "start")
    failures: list[str] = []

    def on_done(run: Run, failure: str | None) -> None:
        if failure is not None:
            failures.append(failure)

    for contest in contests:
        jobs = JOBS if contest.server is None else 1  # a server of its own takes the other core
        asyncio.run(launch(contest.runs, jobs=jobs, on_done=on_done))
    if failures:
        raise RuntimeError("\n".join(failures))
    return report(contests)


def report(contests: Sequence[Contest] = CONTESTS) -> Result:
    """The picture and the table of the runs that are finished."""
    found = {contest: outcomes for contest in contests if (outcomes := _outcomes(contest))}
    draw([(_title(contest), _folders(contest)) for contest in found if contest.pictured])
    return result(found)


def result(found: dict[Contest, dict[str, list[Outcome]]]) -> Result:
    """The table, and what it says of the targets."""
    table = [
        [_title(contest), name.replace("_", " "), *_cells(outcomes)]
        for contest, variants in found.items()
        for name, outcomes in variants.items()
    ]
    short = [one.after for contest in found if contest.suite == "two_to_four" for one in _all(found[contest])]
    long = {
        name: statistics.fmean(one.after for one in outcomes)
        for contest in found
        if contest.suite == "five_to_six"
        for name, outcomes in found[contest].items()
    }
    verdict = (
        f"At two to four calls every run ends between {min(short):.3f} and {max(short):.3f} (target: at least "
        f"{SHORT_TARGET}): {_said(min(short) >= SHORT_TARGET)}."
    )
    if long:
        best = max(long, key=long.__getitem__)
        verdict += (
            f" At five to six calls the best is {best.replace('_', ' ')} with {long[best]:.3f} on average (target: at "
            f"least {LONG_TARGET}): {_said(long[best] >= LONG_TARGET)}."
        )
    header = ["calls an episode", "algorithm", "success before", "after, by seed", "mean", "iterations", "seconds"]
    data = {
        f"{contest.suite}/{name}": [asdict(one) for one in outcomes]
        for contest, variants in found.items()
        for name, outcomes in variants.items()
    }
    return Result("learners", verdict, Table(header, table), data)


def _title(contest: Contest) -> str:
    return f"{contest.suite.replace('_', ' ')} calls"


def _folders(contest: Contest) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for run in _finished(contest):
        found.setdefault(run.variant.name.replace("_", " "), []).append(run.folder)
    return found


def _finished(contest: Contest) -> list[Run]:
    return [run for run in contest.runs if (run.folder / RESULT).exists()]


def _outcomes(contest: Contest) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for run in _finished(contest):
        found.setdefault(run.variant.name, []).append(_read(run.folder, run.seed))
    return found


def _read(folder: Path, seed: int) -> Outcome:
    ended: dict[str, Any] = json.loads((folder / RESULT).read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(sum(line["seconds"].values()) for line in lines if line["kind"] == "iteration")
    before, after = (ended[name]["success"]["rate"] for name in ("test_before", "test_after"))
    return Outcome(seed, before, after, ended["iterations"], seconds)


def _cells(outcomes: Sequence[Outcome]) -> list[str]:
    after = [one.after for one in outcomes]
    return [
        f"{statistics.fmean(one.before for one in outcomes):.3f}",
        ", ".join(f"{value:.3f}" for value in after),
        f"{statistics.fmean(after):.3f}",
        f"{statistics.fmean(one.iterations for one in outcomes):.0f}",
        f"{statistics.fmean(one.seconds for one in outcomes):.0f}",
    ]


def _all(variants: dict[str, list[Outcome]]) -> list[Outcome]:
    return [one for outcomes in variants.values() for one in outcomes]


def _said(met: bool) -> str:
    return "met" if met else "missed"


if __name__ == "__main__":
    report().save()
