"""What came of a replay: a table for the terminal, one for the documentation, and the tasks that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from agentenv.errors import ConfigError
from agentenv_bfcl.replay import Played

BEGIN, END = "<!-- replay:begin -->", "<!-- replay:end -->"
"""Between these lines of a page its tables are."""

HEADINGS = ("played", "category", "tasks", "tool calls", "full marks")


@dataclass(frozen=True, slots=True)
class Line:
    """The episodes of one script in one category."""

    played: tuple[Played, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        first = self.played[0]
        calls, full = sum(one.calls for one in self.played), sum(one.full_marks for one in self.played)
        return first.script.value, first.category.value, f"{len(self.played):,}", f"{calls:,}", f"{full:,}"


def rich_table(lines: Sequence[Line]) -> Table:
    """The table for a terminal."""
    table = Table(title="BFCL v4, multi-turn")
    for index, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for line in lines:
        table.add_row(*line.cells)
    return table


def markdown(lines: Sequence[Line]) -> str:
    """The table for a page, with what stands out below it."""
    rows = [HEADINGS, (":--", ":--", "--:", "--:", "--:"), *(line.cells for line in lines)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *(f"- {sentence}" for sentence in remarks(lines))]).strip()


def remarks(lines: Sequence[Line]) -> list[str]:
    """Which tasks got full marks for something else than their ground truth, or none for it."""
    everything = [one for line in lines for one in line.played]
    found = []
    for script in dict.fromkeys(one.script for one in everything):
        mine = [one for one in everything if one.script is script]
        missed = _named([one for one in mine if one.due and not one.full_marks])
        same = _named([one for one in mine if one.due and one.full_marks]) if not all(one.due for one in mine) else ""
        other = _named([one for one in mine if not one.due and one.full_marks])
        if missed:
            found.append(f"{script}: no full marks for the ground truth itself: {missed}")
        if same:
            found.append(f"{script}: the same as the ground truth, and so full marks: {same}")
        if other:
            found.append(f"{script}: full marks although it is not the ground truth: {other}")
    return found


def _named(played: Sequence[Played]) -> str:
    return ", ".join(one.task_id.removeprefix("multi_turn_") for one in played)


def write_between_markers(page: Path, text: str) -> None:
    """Replaces what is between the markers of a page.

    Raises:
        ConfigError: there is no such page, or it does not have each marker once, in this order.
    """
    if not page.is_file():
        raise ConfigError(f"there is no page {page}")
    said = page.read_text(encoding="utf-8")
    before, begun, rest = said.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended or BEGIN in rest or END in after or END in before:
        raise ConfigError(f"{page} must have {BEGIN} and then {END}, each once")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
