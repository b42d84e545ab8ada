"""How a session in a terminal ends: by a word on a line of its own, so that nothing else is mistaken for it."""

from __future__ import annotations

DONE = "DONE"
GO_ON = f"The session goes on. Work with the tools, or answer {DONE} on a line of its own to have your work tested."


def is_done(text: str) -> bool:
    """Whether a reply ends in the word that ends a session.

    >>> is_done("All notes are sorted.\\n\\n**DONE**"), is_done("It is not DONE yet")
    (True, False)
    """
    last = text.rstrip().rpartition("\n")[2]
    return last.strip(" *`.!\"'") == DONE
