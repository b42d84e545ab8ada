"""What was found about each task, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from agentenv.errors import ConfigError
from agentenv_gui.miniwob.scripts import RELOADED
from agentenv_gui.miniwob.survey import UNSOLVED, Finding

BEGIN, END = "<!-- miniwob:begin -->", "<!-- miniwob:end -->"
"""Between these lines of a page its table is."""
HEADINGS = ("task", "oracle", "steps", "by elements", "waiting", "page")
_NUMBERS = {1, 2, 4}


def cells(finding: Finding) -> tuple[str, ...]:
    """A line of the table."""
    return (
        f"`{finding.name}`",
        _range(finding.earned) if finding.earned and finding.name not in UNSOLVED else "",
        f"{statistics.mean(finding.steps):.1f}" if finding.steps and finding.name not in UNSOLVED else "",
        "✓" if finding.by_elements and finding.name not in UNSOLVED else "",
        _range(finding.idle),
        "loaded anew" if finding.name in RELOADED else "used again",
    )


def markdown(findings: Sequence[Finding]) -> str:
    """The table for a page, and what there is to say besides."""
    rows = [HEADINGS, tuple("--:" if index in _NUMBERS else ":--" for index in range(len(HEADINGS)))]
    table = [f"| {' | '.join(row)} |" for row in (*rows, *map(cells, findings))]
    return "\n".join([summary(findings), "", *table])


def rich_table(findings: Sequence[Finding]) -> Table:
    """The table for a terminal."""
    table = Table(title="MiniWoB++")
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if index in _NUMBERS else "left")
    for finding in findings:
        table.add_row(*(cell.strip("`") for cell in cells(finding)))
    return table


def summary(findings: Sequence[Finding]) -> str:
    """What the table comes to, in a sentence or two."""
    solved = [finding for finding in findings if finding.solved]
    full = sum(min(finding.earned) == 1 for finding in solved)
    by_elements = sum(finding.by_elements for finding in findings)
    again = sum(finding.name not in RELOADED for finding in findings)
    episodes = max((len(finding.earned) for finding in findings), default=0)
    return (
        f"{len(findings)} tasks; oracles earn 1 in each of {episodes} episodes of {full} of them, and what the best "
        f"pixel earns in {len(solved) - full} more; {by_elements} can be done with the words for elements alone. "
        f"The pages of {again} are used again, those of the others are loaded for each episode."
    )


def write_between_markers(page: Path, text: str) -> None:
    """Replaces what is between the markers of a page.

    Raises:
        ConfigError: there is no such page, or it does not have each marker once, in this order.
    """
    if not page.is_file():
        raise ConfigError(f"there is no page {page}")
    before, begun, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended or BEGIN in rest or END in after or END in before:
        raise ConfigError(f"{page} must have {BEGIN} and then {END}, each once")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _range(numbers: Sequence[float]) -> str:
    """The lowest and the highest."""
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
