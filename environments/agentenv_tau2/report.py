"""What a replay found, as a table for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from agentenv.errors import ConfigError
from agentenv_tau2.data import Domain
from agentenv_tau2.replay import Replayed

HEADINGS = ("task", "checks", "calls", "texts", "ground truth", "only talks", "remarks")


def table(domain: Domain, played: Sequence[Replayed]) -> Table:
    """One line a task."""
    made = Table(title=f"tau2 {domain}")
    for heading in HEADINGS:
        made.add_column(heading, overflow="fold")
    for one in played:
        made.add_row(*_cells(one), style=None if one.well else "red")
    return made


def markdown(played: Sequence[Replayed]) -> str:
    """Totals and exceptions, then one line a task."""
    lines = [
        *(f"- {note}" for note in notes(played)),
        "",
        f"| {' | '.join(HEADINGS)} |",
        "| :-- " * len(HEADINGS) + "|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(_cells(one))} |" for one in played)])


def notes(played: Sequence[Replayed], seconds: float | None = None) -> list[str]:
    """Totals, and every exception by name."""
    in_full = sum(one.truth == 1.0 for one in played)
    calls = sum(one.calls for one in played)
    said = [f"{in_full} of {len(played)} ground truths ({calls} calls) are paid in full."]
    if seconds is not None:
        said[0] = f"{said[0][:-1]}, in {seconds:.2f} s."
    if all(one.silent is not None for one in played):
        said.append(f"An agent that only talks is paid in {_named([one for one in played if one.silent])}")
    said += [
        f"{title}: {_named(found)}"
        for title, found in (
            ("The ground truth changes nothing", [one for one in played if not one.changes]),
            ("The task names no calls", [one for one in played if not one.named]),
            ("Sentences that are not judged", [one for one in played if one.unjudged]),
            ("Not as it should be", [one for one in played if not one.well]),
        )
        if found
    ]
    for name in sorted({name for one in played for name in one.failed}):
        said.append(f"The ground truth's {name} fails: {_named([one for one in played if name in one.failed])}")
    return said


def insert(page: str, domain: Domain, text: str) -> str:
    """The page with the text between the markers of a domain.

    Raises:
        ConfigError: the markers are not there.
    """
    begin, end = f"<!-- replay:{domain} -->", f"<!-- end of replay:{domain} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ConfigError(f"the page needs the lines {begin} and {end}, between which the table goes")
    return f"{head}{begin}\n{text}\n{end}{tail}"


def _cells(one: Replayed) -> tuple[str, ...]:
    remarks = [] if one.changes else ["changes nothing"]
    if not one.named:
        remarks.append("names no calls")
    remarks += [f"{name} fails" for name in dict.fromkeys(one.failed)]
    if one.unjudged:
        remarks.append(f"{one.unjudged} not judged")
    silent = "" if one.silent is None else f"{one.silent:g}"
    checks = ", ".join(one.basis)
    return one.id, checks, str(one.calls), str(one.texts), f"{one.truth:g}", silent, "; ".join(remarks)


def _named(found: Sequence[Replayed]) -> str:
    return f"{len(found)} ({', '.join(one.id for one in found)})." if found else "none."
