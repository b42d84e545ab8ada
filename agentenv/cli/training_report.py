"""What a training run leaves to look at: the learning curve, and the same tasks before and after."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from agentenv.cli.training_view import summary
from agentenv.episode import Episode
from agentenv.evaluate.protocol import JOURNAL
from agentenv.learn.events import Tested
from agentenv.outcome import Status
from agentenv.rollout import Journal

SHOWN = 3


def draw_curve(run_folder: Path) -> Path | None:
    """Writes `learning_curve.png` into a run folder from its metrics.

    Returns where it lies; `None` when matplotlib is not installed or there is nothing to draw yet.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    entries = _entries(run_folder / "metrics.jsonl")
    iterations = [entry for entry in entries if entry["kind"] == "iteration"]
    evaluations = [entry for entry in entries if entry["kind"] == "evaluation"]
    if not iterations:
        return None
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).flat
    at = [entry["iteration"] for entry in iterations]
    curves: list[tuple[str, list[Any]]] = [
        ("reward", [entry["reward_mean"] for entry in iterations]),
        ("sampled tokens per episode", [entry["response_mean"] for entry in iterations]),
        ("entropy (nats per token)", [entry["update"]["entropy"] for entry in iterations]),
        ("sampled tokens per second", [entry["sampled_per_second"] for entry in iterations]),
    ]
    for panel, (title, values) in zip(panels, curves, strict=True):
        panel.plot(at, [math.nan if value is None else value for value in values], label="training")
        panel.set_title(title)
        panel.grid(alpha=0.3)
        if title == "reward" and evaluations:
            means = [entry["reward"]["mean"] for entry in evaluations]
            errors = [entry["reward"]["standard_error"] or 0.0 for entry in evaluations]
            shown = [math.nan if mean is None else mean for mean in means]
            panel.errorbar(
                [entry["iteration"] for entry in evaluations], shown, yerr=errors, marker="o", label="evaluation"
            )
            panel.legend()
    figure.supxlabel("iteration")
    path = run_folder / "learning_curve.png"
    figure.savefig(path, dpi=120)
    return path


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def show_test(before: Tested, after: Tested, console: Console) -> None:
    """Prints the final test of the model before the first iteration and of the best one."""
    protocol = after.evaluation.protocol
    console.print(Text(f"\n{protocol.tasks} unseen tasks (split {protocol.split}), greedy", style="bold"))
    for name, tested in (("before", before), ("after", after)):
        console.print(Text(f"  {name:<7} {summary(tested.evaluation)}"))


def show_transcripts(before: Tested, after: Tested, console: Console, count: int = SHOWN) -> None:
    """Prints what the policy said on a few of the test's tasks, before the first iteration and after the best.

    Shown are those whose return changed most, for better or worse, and of these the longest: they say what was learnt.
    """
    then, now = _scored(before.folder), _scored(after.folder)

    def telling(task_id: str) -> tuple[float, int]:
        change = abs((now[task_id].reward or 0.0) - (then[task_id].reward or 0.0))
        return change, len(now[task_id].turns)

    for task_id in sorted((task_id for task_id in then if task_id in now), key=telling, reverse=True)[:count]:
        console.print(Text(f"\n{then[task_id].task.question or task_id}", style="bold"))
        for name, episode in (("before", then[task_id]), ("after", now[task_id])):
            console.print(Text(f"  {name}, return {episode.reward:g}", style="dim"))
            for speaker, said in transcript(episode):
                console.print(Text(f"    {speaker:<9} {said}"), soft_wrap=True)


def transcript(episode: Episode) -> list[tuple[str, str]]:
    """(speaker, text) of everything after the opening; calls as `name(arguments)`, line breaks as `⏎`."""
    lines: list[tuple[str, str]] = []
    for turn in episode.turns:
        heard = turn.observation.messages if turn.index else ()
        for message in (*heard, turn.action.message):
            calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
            said = " ".join(part for part in (message.text, *calls) if part)
            lines.append((message.role.value, said.replace("\n", " ⏎ ") or "(nothing)"))
    return lines


def _scored(folder: Path) -> dict[str, Episode]:
    with Journal.open(folder / JOURNAL, create=False) as journal:
        finished = journal.episodes({Status.OK, Status.TRUNCATED})
        return {episode.task.id: episode for episode in finished if episode.reward is not None}
