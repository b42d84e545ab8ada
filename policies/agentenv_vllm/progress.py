"""What a user sees while a server starts, which takes half a minute and more: one line on standard error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Progress(Protocol):
    """Told what goes on during something long."""

    def show(self, words: str) -> None:
        """What is done now; called several times a second."""

    def end(self) -> None:
        """It is over, well or not."""


class Silence:
    """Shows nothing."""

    def show(self, words: str) -> None:
        pass

    def end(self) -> None:
        pass


class StartProgress:
    """A line that changes at a terminal, one line that stays elsewhere.

    Args:
        log: where to read more.
    """

    def __init__(self, log: Path, console: Console | None = None) -> None:
        self._log = log
        self._console = console
        self._status: Status | None = None
        self._told = False

    def show(self, words: str) -> None:
        from rich.console import Console
        from rich.markup import escape

        console = self._console = self._console or Console(stderr=True)
        if not console.is_terminal:
            if not self._told:
                console.print(f"{words} (log: {self._log})", markup=False, highlight=False, soft_wrap=True)
        elif self._status is None:
            self._status = console.status(escape(words))
            self._status.start()
        else:
            self._status.update(escape(words))
        self._told = True

    def end(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
