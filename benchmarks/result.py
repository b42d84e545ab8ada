"""What a benchmark hands back, and how it gets into BENCHMARKS.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "BENCHMARKS.md"
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of already formatted cells; the first column is text, the others are numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.header, [":--", *["--:"] * (len(self.header) - 1)], *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's outcome: what it says and the numbers it says it from.

    Attributes:
        name: of the module in ``benchmarks``, and of the section in BENCHMARKS.md.
        verdict: one sentence with the number that matters and the target it was held against.
        data: everything measured, JSON-serialisable.
    """

    name: str
    verdict: str
    table: Table
    data: Mapping[str, Any]

    def save(self, page: Path = PAGE, folder: Path = RESULTS) -> None:
        """Write ``folder/<name>.json`` and the section of this benchmark in ``page``."""
        stamp = {"date": datetime.date.today().isoformat(), "machine": machine()}
        folder.mkdir(exist_ok=True)
        body = {"name": self.name, "verdict": self.verdict, **stamp, "data": self.data}
        (folder / f"{self.name}.json").write_text(json.dumps(body, indent=2) + "\n")
        page.write_text(with_section(page.read_text(), self.name, self.section(stamp["date"])))

    def section(self, date: str) -> str:
        """The Markdown between the markers."""
        command = f"`python -m benchmarks {self.name}`"
        return f"{self.verdict}\n\n{self.table.markdown()}\n\n{date} · {machine()} · {command}"


def with_section(page: str, name: str, section: str) -> str:
    """The page with the text between ``<!-- name:begin -->`` and ``<!-- name:end -->`` replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no markers {begin} and {end}.")
    return pattern.sub(lambda _: f"{begin}\n{section}\n{end}", page)


def machine() -> str:
    """Processor, cores and Python: what a reader needs to compare, and nothing that names the machine."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    return f"{len(os.sched_getaffinity(0))} cores {model}, Python {platform.python_version()}"


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"
