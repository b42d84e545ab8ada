"""Who belongs to a sandbox, and how all of them are ended at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from agentenv_local.jail import names


class Family(Protocol):
    """All processes of a sandbox but its warden."""

    def end(self) -> object:
        """Sends everybody a signal that nobody can ignore. Whoever is forked meanwhile gets it too."""


class Namespace:
    """Everybody this process sees: it is the first of a process namespace."""

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)


class Descendants:
    """Whoever descends from this process, which adopts those that lose their parent (a subreaper).

    Everybody is stopped first, and looked for again until nobody new is found: who is stopped cannot fork away.

    Args:
        others: children of this process, with all theirs, that are no part of the family.
    """

    def __init__(self, others: frozenset[int] = frozenset()) -> None:
        self._others = others

    def end(self) -> set[int]:
        """As everywhere; says whom it has ended."""
        stopped: set[int] = set()
        while found := self._members() - stopped:
            for pid in found:
                _send(pid, signal.SIGSTOP)
            stopped |= found
        for pid in stopped:
            _send(pid, signal.SIGKILL)
        return stopped

    def _members(self) -> set[int]:
        children: dict[int, list[int]] = {}
        for process in processes():
            children.setdefault(process.parent, []).append(process.pid)
        found: set[int] = set()
        left = [pid for pid in children.get(os.getpid(), []) if pid not in self._others]
        while left:
            pid = left.pop()
            found.add(pid)
            left += children.get(pid, [])
        return found


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: its number, its parent's, and its session's leader's."""

    pid: int
    parent: int
    session: int


def processes() -> Iterator[Process]:
    """All that can be seen and have not ended."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] != b"Z":
            yield Process(int(name), parent=int(fields[1]), session=int(fields[3]))


def bury(ended: set[int]) -> None:
    """Waits until all of these, who descend from this process, are gone: whose parent has gone becomes its child."""
    left = set(ended)
    while left:
        for pid in list(left):
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                if names.started(pid):
                    continue
            left.discard(pid)


def strays(leader: int) -> list[int]:
    """Processes of a session, and those whose parent is this process."""
    me = os.getpid()
    return [one.pid for one in processes() if one.pid != me and (one.session == leader or one.parent == me)]


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
