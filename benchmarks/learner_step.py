"""A learner's step (forward, loss, backward, clipping, optimizer), ours against trl's GRPOTrainer, on the same rows.

Both start from the same weights and get the same prompts, completions, advantages and log-probabilities, in float32 on
one thread. Each runs in a process of its own and they take turns; the cost of a step is its CPU time. Their losses must
agree at every step, the warm-up's included: then gradients and optimizer agree too, or there is no result.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.learner_workload import LearnerOptions, LearnerReport, new_model, new_samples, save_samples
from benchmarks.peers.install import TRL
from benchmarks.processes import run_module
from benchmarks.result import Result, Table

TOKENS = 4096
"""Padded positions of a micro-batch: what eight rows of trl's padded batch come to at most."""
WARM_UP, STEPS = 1, 1
TARGET_SPEED = 1.3
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Contestant:
    """One library in one setting."""

    label: str
    python: Path
    runner: str
    variant: str


OURS = Contestant("agentenv", Path(sys.executable), "benchmarks.learner_step_runner", "sorted")
PEERS = (
    Contestant("trl, micro-batches of 8 rows", TRL.python, TRL.runner, "eight"),
    Contestant("trl, rows sorted and cut like ours", TRL.python, TRL.runner, "sorted"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """How large the vocabulary is, and how many rows a step takes: fewer where each costs more."""

    vocabulary: int
    rows: int


SETTINGS = (Setting(512, 64), Setting(32_000, 16))


@dataclass(frozen=True, slots=True)
class Measured:
    """The reports of one setting, by contestant and round, and the tokens that a step trains on, prompts included."""

    setting: Setting
    tokens: int
    reports: dict[Contestant, list[LearnerReport]]

    def speed(self, who: Contestant) -> float:
        """Tokens a second of CPU time."""
        return self.tokens / statistics.median(_cost(report) for report in self.reports[who])

    @property
    def better_peer(self) -> Contestant:
        return max(PEERS, key=self.speed)

    def advantage(self, peer: Contestant) -> float:
        """Our speed relative to the peer's: the median of the rounds' ratios."""
        rounds = zip(self.reports[peer], self.reports[OURS], strict=True)
        return statistics.median(_cost(theirs) / _cost(ours) for theirs, ours in rounds)

    def mebibytes(self, who: Contestant, of: Callable[[LearnerReport], int]) -> float:
        return statistics.median(of(report) for report in self.reports[who]) / 2**20

    @property
    def apart(self) -> float:
        """The largest difference of any two losses at the same step."""
        losses = [report.losses for reports in self.reports.values() for report in reports]
        return max(max(at) - min(at) for at in zip(*losses, strict=True))


def run(rounds: int = 5) -> Result:
    TRL.install()
    return _result([measure(setting, rounds) for setting in SETTINGS], rounds)


def measure(setting: Setting, rounds: int) -> Measured:
    """All contestants in turns.

    Raises:
        RuntimeError: their losses differ.
    """
    reports: dict[Contestant, list[LearnerReport]] = {who: [] for who in (OURS, *PEERS)}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = new_model(setting.vocabulary)
        model.save_pretrained(folder)
        samples = new_samples(model.eval(), setting.rows)
        save_samples(samples, folder / "samples.json")
        for _ in range(rounds):
            for who, made in reports.items():
                options = LearnerOptions(folder, who.variant, STEPS, WARM_UP, TOKENS)
                text = run_module(who.runner, options.arguments(), who.python, timeout=1800)
                made.append(LearnerReport.parse(text))
    measured = Measured(setting, sum(map(len, samples)), reports)
    if not measured.apart <= TOLERANCE:
        raise RuntimeError(f"the losses are {measured.apart:.1e} apart with a vocabulary of {setting.vocabulary}")
    return measured


def _cost(report: LearnerReport) -> float:
    return statistics.median(report.cpu_s)


def _result(measured: list[Measured], rounds: int) -> Result:
    header = [
        "vocabulary, library",
        "tokens a second of CPU",
        "ours is faster by",
        "padded positions a step",
        "peak resident, MiB",
        "of which for the steps, MiB",
    ]
    rows = [
        [
            f"{each.setting.vocabulary:,}: {who.label} ({each.reports[who][0].version})",
            f"{each.speed(who):.0f}",
            "–" if who is OURS else f"{each.advantage(who):.2f} ×",
            f"{each.reports[who][0].padded_tokens:,}",
            f"{each.mebibytes(who, lambda report: report.peak_bytes):.0f}",
            f"{each.mebibytes(who, lambda report: report.step_bytes):.0f}",
        ]
        for each in measured
        for who in (OURS, *PEERS)
    ]
    settings = {"tokens_per_microbatch": TOKENS, "warm_up": WARM_UP, "steps": STEPS, "rounds": rounds}
    data = {
        f"vocabulary {each.setting.vocabulary}": {
            "rows": each.setting.rows,
            "tokens": each.tokens,
            "losses_apart": each.apart,
            "reports": {
                who.label: [dataclasses.asdict(report) for report in each.reports[who]] for who in each.reports
            },
        }
        for each in measured
    }
    return Result("learner_step", _verdict(measured), Table(header, rows), settings | data)


def _verdict(measured: list[Measured]) -> str:
    speeds, leaner = [], True
    for each in measured:
        peer, default = each.better_peer, PEERS[0]
        speeds.append(
            f"{each.advantage(peer):.2f} times the tokens a second of the better of trl's two settings "
            f"({each.advantage(default):.2f} times trl's own) with a vocabulary of {each.setting.vocabulary:,}"
        )
        for of in (lambda report: report.peak_bytes, lambda report: report.step_bytes):
            leaner &= each.mebibytes(OURS, of) <= min(each.mebibytes(who, of) for who in PEERS)
    fast = all(each.advantage(each.better_peer) >= TARGET_SPEED for each in measured)
    apart = max(each.apart for each in measured)
    return (
        f"A learner's step trains {' and '.join(speeds)}; target: at least {TARGET_SPEED} times, "
        f"{'met' if fast else 'missed'}. Losses differ by at most {apart:.0e} (target: {TOLERANCE:.0e}). "
        f"Peak memory is {'lower' if leaner else 'not always lower'} (target: no higher): "
        f"{'met' if leaner else 'missed'}."
    )
