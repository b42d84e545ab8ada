"""The curves and the table of docs/multi-tool.md, from the folders of training runs.

    python examples/research_curves.py runs/research-0 runs/research-1 runs/research-2 --free runs/research-free
    python examples/research_curves.py runs/research-0 --picture /tmp/curves.png

The runs are those of examples/research.toml; the ones after `--free` were trained with calls that cost nothing. The
table goes to standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PICTURE = Path("docs/images/multi_tool.png")
PAID, FREE = "#0072B2", "#D55E00"
"""Of Okabe and Ito, which the colour-blind can tell apart."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an evaluation found.

    Attributes:
        iteration: after which it was made. success: share of right answers. calls: tool calls an episode, of those with
            a right answer; `None` where there was none.
    """

    iteration: int
    success: float
    calls: float | None

    @classmethod
    def of(cls, line: dict[str, Any]) -> Self:
        """An evaluation's or a test's line of `metrics.jsonl`."""
        return cls(line["iteration"], line["metrics"]["success"], line["metrics"].get("calls_when_right"))


@dataclass(frozen=True, slots=True)
class Run:
    """A training run, as its folder tells it.

    Attributes:
        seed: of the run. cost: of a call. seconds: that its iterations took, without warm-up, evaluations and tests.
        evaluations: greedy, on development tasks, in their order. before, after: the tests on held-out tasks.
    """

    seed: int
    cost: float
    seconds: float
    evaluations: tuple[Measured, ...]
    before: Measured
    after: Measured

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads a folder that a run of examples/research.toml has left. Raises SystemExit where it is not finished."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        tests = {line["name"]: Measured.of(line) for line in lines if line["kind"] == "test"}
        if "after" not in tests:
            raise SystemExit(f"{folder} has no final test yet: let its training end first")
        return cls(
            seed=config["seed"],
            cost=config["environment_kwargs"]["tool_rules"]["cost"],
            seconds=sum(sum(line["seconds"].values()) for line in lines if line["kind"] == "iteration"),
            evaluations=tuple(Measured.of(line) for line in lines if line["kind"] == "evaluation"),
            before=tests["before"],
            after=tests["after"],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs whose calls cost something")
    parser.add_argument("--free", nargs="*", type=Path, default=[], help="folders of runs whose calls cost nothing")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    paid, free = ([Run.read(folder) for folder in folders] for folders in (options.runs, options.free))
    draw(paid, free, options.picture)
    print("\n".join(table([*paid, *free])))


def table(runs: Iterable[Run]) -> list[str]:
    """Rows of Markdown: success and calls a right answer on held-out tasks, before and after."""
    rows = [
        "| seed | cost of a call | success before | after | calls a right answer before | after | seconds |",
        "| --: | --: | --: | --: | --: | --: | --: |",
    ]
    for run in runs:
        before, after = run.before, run.after
        calls = [f"{found.calls:.2f}" if found.calls is not None else "–" for found in (before, after)]
        rows.append(
            f"| {run.seed} | {run.cost:g} | {before.success:.3f} | {after.success:.3f} | {calls[0]} | {calls[1]} "
            f"| {run.seconds:.0f} |"
        )
    return rows


def draw(paid: Sequence[Run], free: Sequence[Run], path: Path) -> None:
    """Success on the left, calls a right answer on the right, a line a run."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for runs, colour in ((paid, PAID), (free, FREE)):
        for number, run in enumerate(runs):
            label = f"a call costs {run.cost:g}" if number == 0 else None
            at = [found.iteration for found in run.evaluations]
            line = {"color": colour, "marker": ".", "linewidth": 1.4, "alpha": 0.85, "label": label}
            left.plot(at, [found.success for found in run.evaluations], **line)
            right.plot(at, [float("nan") if found.calls is None else found.calls for found in run.evaluations], **line)
    _finish(left, "success on development tasks, greedy", (0, 1))
    _finish(right, "tool calls of an episode with a right answer", (2.5, 6.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _finish(panel: Axes, title: str, limits: tuple[float, float]) -> None:
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_xlabel("iteration")
    panel.set_ylim(*limits)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(frameon=False, loc="best")


if __name__ == "__main__":
    main()
