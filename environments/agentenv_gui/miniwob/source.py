"""Where MiniWoB++'s pages are: in the package `miniwob`, which is read and never changed, nor imported."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentenv.errors import ConfigError, MissingDataError, nearest

PACKAGE = "miniwob"
TESTED = "1.1.0"
"""The release whose pages this plugin was checked against."""

_INSTALL = f"pip install --no-deps 'miniwob=={TESTED}'"

LEFT_OUT: Mapping[str, str] = {
    f"flight.{name}": "a copy of an airline's site in a frame, loaded anew in each episode from a web server"
    for name in ("AA", "Alaska", "Alaska-auto", "Alaska-auto-medium")
}
"""Tasks of the package that are not offered, and why."""


@functools.cache
def folder() -> Path:
    """The folder of the pages and of what they load.

    Raises:
        MissingDataError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MissingDataError(f"MiniWoB++'s pages are not installed: {_INSTALL}")
    return Path(found.origin).parent / "html"


@functools.cache
def names() -> tuple[str, ...]:
    """The tasks there are, in alphabetical order.

    Raises:
        MissingDataError: the package, or its pages, are not there.
    """
    found = tuple(sorted(file.stem for file in (folder() / "miniwob").glob("*.html")))
    if not found:
        raise MissingDataError(f"The installed miniwob has no pages; the release {TESTED} has: {_INSTALL}")
    return found


def address(name: str) -> str:
    """The URL of a task's page. Raises as `names`."""
    return (folder() / "miniwob" / f"{name}.html").as_uri()


def chosen(tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    """The tasks that are asked for: one, several, or all where none is named.

    Raises:
        ConfigError: there is no such task. MissingDataError: as `names`.
    """
    if tasks is None:
        return names()
    wanted = tuple(tasks.replace(",", " ").split()) if isinstance(tasks, str) else tuple(tasks)
    for name in wanted:
        if name in LEFT_OUT:
            raise ConfigError(f"the task {name!r} is not offered: {LEFT_OUT[name]}")
        if name not in names():
            raise ConfigError(f"MiniWoB++ has no task {name!r}.{nearest(name, names())}")
    if not wanted:
        raise ConfigError("tasks= names no task; leave it out for all of them")
    return wanted
