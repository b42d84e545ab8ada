"""What the commands on finished runs share: the journal of a run folder, and a bar over its episodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv.cli.common import err

if TYPE_CHECKING:
    from agentenv.outcome import Status
    from agentenv.rollout import Journal


@contextmanager
def journal_of(run: Path) -> Iterator[Journal]:
    """The journal of a run folder, or the journal itself. Raises `ConfigError` where there is none."""
    from agentenv.errors import ConfigError
    from agentenv.evaluate.protocol import JOURNAL
    from agentenv.rollout import Journal

    path = run / JOURNAL if run.is_dir() else run
    if not path.is_file():
        raise ConfigError(f"{run} is no run: there is no {JOURNAL} in it")
    with Journal.open(path, create=False) as journal:
        yield journal


@contextmanager
def bar(journal: Journal, statuses: Collection[Status], what: str) -> Iterator[Callable[[], None]]:
    """A progress bar over the attempts of the given statuses; the function it gives moves it on by one."""
    from rich.progress import Progress

    counts = journal.counts()
    with Progress(console=err(), transient=True) as progress:
        line = progress.add_task(what, total=sum(counts.get(status, 0) for status in statuses))
        yield lambda: progress.advance(line)


def shorten(text: str, limit: int = 120) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
