"""`updates.jsonl`: which groups each update learns from, written before it does.

A killed run makes the updates that its latest checkpoint does not hold again from the same groups. Which groups were
complete first is an accident of time; what the weights are after the accident must not be.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from agentenv.learn.errors import LearnError


@dataclass(frozen=True, slots=True)
class LoggedUpdate:
    """The numbers of the groups of one update, oldest first, and of those that were dropped on the way to it."""

    iteration: int
    groups: tuple[int, ...]
    dropped: tuple[int, ...] = ()


class UpdateLog:
    """Appends to the file, and reads it back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, update: LoggedUpdate) -> None:
        """Writes one line; when this returns it survives the death of the process.

        Raises:
            LearnError: the file cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(update)) + "\n")
        except OSError as error:
            raise LearnError(
                f"{self._path} cannot be written ({error}); update {update.iteration} was not begun"
            ) from error

    def after(self, iteration: int) -> list[LoggedUpdate]:
        """The updates after that iteration. A line that was torn by the death of its writer is removed."""
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        entries = [json.loads(line) for line in whole.decode().splitlines()]
        updates = [
            LoggedUpdate(entry["iteration"], tuple(entry["groups"]), tuple(entry["dropped"])) for entry in entries
        ]
        return [update for update in updates if update.iteration > iteration]
