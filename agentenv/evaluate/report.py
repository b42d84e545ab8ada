"""An evaluation at the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentenv.evaluate.result import Evaluation

SHOWN_FAILURES = 5
SHOWN_BLOCKING = 3
_COUNTED_ANYWAY = ("turns", "tool_calls", "tool_errors")


def render(evaluation: Evaluation, console: Console) -> None:
    """Prints the numbers with their uncertainty; what was not scored stands out."""
    protocol = evaluation.protocol
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(evaluation).items():
        table.add_row(Text(name), Text(value))
    title = f"{protocol.environment} · {protocol.policy} · {protocol.split}"
    console.print(Text(title, style="bold cyan"))
    console.print(table)
    _render_failures(evaluation, console)
    _render_blocking(evaluation, console)


def _rows(evaluation: Evaluation) -> dict[str, str]:
    reward, success, averages = evaluation.reward, evaluation.success, evaluation.averages
    rows = {"reward": "nothing was scored"}
    if reward.mean is not None:
        error = f" ± {reward.standard_error:.4f}" if reward.standard_error is not None else ""
        rows["reward"] = f"{reward.mean:.4f}{error}   (mean ± standard error, {reward.clusters} tasks)"
    if success.rate is not None and success.low is not None and success.high is not None:
        rows["success"] = f"{success.rate:.1%}   (95 % interval {success.low:.1%} … {success.high:.1%})"
    rows["episodes"] = f"{evaluation.scored} scored of {evaluation.planned}"
    rows["ended"] = _counts(evaluation.stop_reasons)
    rows["status"] = _counts(evaluation.statuses)
    if len(evaluation.components) > 1:
        rows["components"] = _means(evaluation.components)
    own = {name: mean for name, mean in evaluation.metrics.items() if name not in _COUNTED_ANYWAY}
    if own:
        rows["metrics"] = _means(own)
    if averages is not None:
        rows["per episode"] = (
            f"{averages.turns:.1f} turns, {averages.tool_calls:.1f} tool calls ({averages.tool_errors:.2f} failed), "
            f"{averages.prompt_tokens:.0f} + {averages.completion_tokens:.0f} tokens, {averages.seconds:.2f} s"
        )
    rows["time"] = f"{evaluation.wall_seconds:.1f} s"
    return rows


def _render_failures(evaluation: Evaluation, console: Console) -> None:
    missing = evaluation.planned - evaluation.scored
    if not missing:
        return
    shown = f"{missing} of {evaluation.planned} episodes were NOT scored and are in none of the means above"
    console.print(Text(f"! {shown}", style="bold red"))
    for failure in evaluation.failures[:SHOWN_FAILURES]:
        line = f"  {failure.count} × {failure.status.value}: {failure.message}"
        console.print(Text(line if len(line) <= 300 else line[:299] + "…", style="red"))
    if len(evaluation.failures) > SHOWN_FAILURES:
        console.print(Text(f"  … and {len(evaluation.failures) - SHOWN_FAILURES} other kinds", style="red"))


def _render_blocking(evaluation: Evaluation, console: Console) -> None:
    for one in evaluation.blocking[:SHOWN_BLOCKING]:
        place = f", at {one.code}" if one.code else ""
        times = f" {one.count} times" if one.count > 1 else ""
        line = f"! {one.where} blocked the event loop{times} for {one.seconds:.1f} s{place}: every episode waited"
        console.print(Text(line, style="yellow"))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _means(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {mean:.4g}" for name, mean in means.items())
