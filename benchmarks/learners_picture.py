"""The learning curves of `benchmarks.learners`: success on development tasks over the seconds of iterations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.result import ROOT

PICTURE = ROOT / "docs" / "images" / "horizons.png"

_COLOURS = {
    "grpo": "#555555",
    "grpo outcome": "#D55E00",
    "grpo by turn": "#009E73",
    "gigpo": "#E69F00",
    "ppo": "#0072B2",
}
"""Of Okabe and Ito, which the colour-blind can tell apart."""

Curve = tuple[Sequence[float], Sequence[float]]


def draw(panels: Sequence[tuple[str, dict[str, list[Path]]]], path: Path = PICTURE) -> None:
    """One panel for each suite: its title, and the run folders of each algorithm, a line a seed."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False).flat
    for panel, (title, algorithms) in zip(axes, panels, strict=True):
        for name, folders in algorithms.items():
            for number, folder in enumerate(folders):
                seconds, success = curve(folder)
                label = name if number == 0 else None
                panel.plot(seconds, success, color=_COLOURS[name], marker=".", linewidth=1.4, alpha=0.85, label=label)
        panel.set_title(title, loc="left")
        panel.set_xlabel("seconds of iterations")
        panel.set_ylim(0, 1)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, loc="best")
    next(iter(figure.axes)).set_ylabel("greedy success on development tasks")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def curve(folder: Path) -> Curve:
    """Seconds of iterations before each evaluation of a run, and the success it found."""
    lines: Iterable[dict[str, Any]] = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    spent, seconds, success = 0.0, [], []
    for line in lines:
        if line["kind"] == "iteration":
            spent += sum(line["seconds"].values())
        elif line["kind"] == "evaluation":
            seconds.append(spent)
            success.append(line["success"]["rate"])
    return seconds, success
