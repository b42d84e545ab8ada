"""The world `files`: a tree of text files in memory. No path leads out of it; there is no other place to lead to."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from agentenv.tools import ToolError, tool
from agentenv_tools.world import Facts, World, register_world
from agentenv_tools.worlds.drawn_files import draw_files

MAX_FILES = 500
MAX_CHARACTERS = 200_000
"""Of all files together."""
MAX_PATH = 300
"""Characters of a path."""
MAX_HITS = 100
"""Lines that a search shows at most."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A line in which something was found."""

    path: str
    line: int
    text: str


@register_world
class FilesWorld(World):
    """Text files by path. A folder is there as long as there is something in it."""

    name: ClassVar[str] = "files"

    def __init__(self, rng: random.Random) -> None:
        self.files: dict[str, str] = draw_files(rng)

    @tool(inline=True)
    def list_folder(self, path: str = "/") -> list[str]:
        """Lists a folder. Names of folders end in a slash.

        Args:
            path: The folder, from the root, for example "/projects".
        """
        folder = clean(path)
        inside = self._inside(folder)
        if folder in self.files:
            raise ToolError(f"Error: {folder} is a file, not a folder.")
        if not inside and folder != "/":
            raise ToolError(f"Error: there is no folder {folder}.")
        prefix = _as_folder(folder)
        return sorted({_first(name[len(prefix) :]) for name in inside})

    @tool(inline=True)
    def read_file(self, path: str) -> str:
        """Returns what is in a file.

        Args:
            path: The file, from the root.
        """
        return self.files[self._file(path)]

    @tool(inline=True)
    def write_file(self, path: str, text: str) -> str:
        """Writes a file; one that is there already is replaced. Folders it needs are made.

        Args:
            path: The file, from the root.
            text: All that is to be in it.
        """
        name = clean(path)
        self._check_room(name, text)
        self.files[name] = text
        return f"{name} has {len(text):,} characters now."

    @tool(inline=True)
    def move_file(self, path: str, to: str) -> str:
        """Moves a file, or gives it another name. Nothing is overwritten.

        Args:
            path: The file, from the root.
            to: Its new path; or a folder that is there, into which it goes under its own name.
        """
        name, target = self._file(path), clean(to)
        if target == "/" or self._inside(target):
            target = _as_folder(target) + name.rpartition("/")[2]
        if target in self.files:
            raise ToolError(f"Error: there is a file {target} already.")
        self._check_place(target)
        self.files[target] = self.files.pop(name)
        return f"{name} is {target} now."

    @tool(inline=True)
    def delete_file(self, path: str) -> str:
        """Deletes one file for good.

        Args:
            path: The file, from the root.
        """
        name = self._file(path)
        del self.files[name]
        return f"{name} is deleted."

    @tool(inline=True)
    def search_files(self, text: str, path: str = "/") -> list[Hit]:
        """Finds the lines that hold a text, letter for letter, in all files of a folder and below.

        Args:
            text: What to look for.
            path: The folder to look in.
        """
        if not text:
            raise ToolError("Error: there is no text to look for.")
        found = list(itertools.islice(self._hits(text, clean(path)), MAX_HITS + 1))
        if len(found) > MAX_HITS:
            raise ToolError(f"Error: more than {MAX_HITS} lines hold it; look for something rarer, or in one folder.")
        return found

    def _hits(self, text: str, folder: str) -> Iterator[Hit]:
        for name in sorted(self._inside(folder)):
            for number, line in enumerate(self.files[name].splitlines(), start=1):
                if text in line:
                    yield Hit(name, number, line[:200])

    def facts(self) -> Facts:
        return dict(self.files)

    def snapshot(self) -> dict[str, str]:
        return dict(self.files)

    def restore(self, snapshot: dict[str, str]) -> None:
        self.files = dict(snapshot)

    def _file(self, path: str) -> str:
        """The name of a file that is there."""
        name = clean(path)
        if name not in self.files:
            what = "is a folder" if name == "/" or self._inside(name) else "is not there"
            raise ToolError(f"Error: {name} {what}; a file is needed.")
        return name

    def _inside(self, folder: str) -> list[str]:
        prefix = _as_folder(folder)
        return [name for name in self.files if name.startswith(prefix)]

    def _check_place(self, name: str) -> None:
        """Refuses a name that a file cannot have, because folders and files share names."""
        if name == "/" or self._inside(name):
            raise ToolError(f"Error: {name} is a folder.")
        above = name
        while above := above.rpartition("/")[0]:
            if above in self.files:
                raise ToolError(f"Error: {above} is a file, and cannot hold {name}.")

    def _check_room(self, name: str, text: str) -> None:
        self._check_place(name)
        others = {other: content for other, content in self.files.items() if other != name}
        used = sum(len(content) for content in others.values()) + len(text)
        if len(others) >= MAX_FILES or used > MAX_CHARACTERS:
            raise ToolError(f"Error: there is room for {MAX_FILES} files of {MAX_CHARACTERS:,} characters together.")


def clean(path: str) -> str:
    """A path from the root in its one right spelling.

    >>> clean("a//b/./c/"), clean("/a/../b")
    ('/a/b/c', '/b')

    Raises:
        ToolError: it leads out of the root, is too long, or holds a control character.
    """
    if len(path) > MAX_PATH or any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise ToolError(f"Error: a path has at most {MAX_PATH} characters, none of them a control character.")
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                raise ToolError(f"Error: {path!r} leads out of the root folder.")
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    return "/" + "/".join(steps)


def _as_folder(path: str) -> str:
    return path if path == "/" else f"{path}/"


def _first(path: str) -> str:
    step, slash, _ = path.partition("/")
    return step + slash
