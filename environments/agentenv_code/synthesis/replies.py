"""Finding the program in a reply."""

from __future__ import annotations

MAX_LENGTH = 100_000
"""Characters of a reply in which a program is looked for."""

_FENCE = "```"
_PYTHON = ("python", "py", "python3")


def find_program(reply: str) -> str | None:
    r"""The program a reply gives, or `None`.

    That is the last fenced block that says it is Python, or else the last that says nothing; a block that is not closed
    is none. A reply without any fence is the program itself.

    >>> find_program("Like this:\n```python\nx = 1\n```\nDone."), find_program("```text\nno\n```")
    ('x = 1\n', None)
    """
    if len(reply) > MAX_LENGTH:
        return None
    if _FENCE not in reply:
        return reply if reply.strip() else None
    blocks = list(_blocks(reply))
    for names in (_PYTHON, ("",)):
        found = [code for name, code in blocks if name in names]
        if found:
            return found[-1]
    return None


def fenced(code: str) -> str:
    """A program as a reply that `find_program` finds it in."""
    return f"{_FENCE}python\n{code.rstrip()}\n{_FENCE}"


def _blocks(reply: str) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    blocks: list[tuple[str, str]] = []
    name = ""
    inside: list[str] | None = None
    for line in reply.splitlines(keepends=True):
        if not line.lstrip().startswith(_FENCE):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            name, inside = line.strip().strip("`").strip().lower(), []
        else:
            blocks.append((name, "".join(inside)))
            inside = None
    return blocks
