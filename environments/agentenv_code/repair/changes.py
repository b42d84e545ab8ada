"""What an agent did to a repository, as data, and what of it may be taken over."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

Tree = Mapping[str, bytes]
"""Files by their path in a repository."""

_TAMPERING = frozenset({"sitecustomize.py", "usercustomize.py"})
_RUNNERS_OWN = frozenset({"conftest.py", "pytest.ini", "tox.ini", "setup.cfg", ".coveragerc", ".gitignore"})
_NO_NEWLINE = "\\ No newline at end of file\n"
_COMPILED = frozenset({".pyc", ".pyo", ".pyd", ".so"})


@dataclass(frozen=True, slots=True)
class Changes:
    """An agent's changes, sorted by what may be done with them.

    Attributes:
        written, removed: what is taken over: source files, and paths that are gone.
        dropped: changes to tests, to what configures them, to compiled and to binary files. They are not taken over,
            and nothing is wrong with them.
        tampering: files that have no use but to run when an interpreter starts, or in place of the standard library.
    """

    written: Tree
    removed: frozenset[str]
    dropped: tuple[str, ...]
    tampering: tuple[str, ...]

    @classmethod
    def between(cls, before: Tree, after: Tree) -> Changes:
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        tampering = {path for path in changed & after.keys() if _is_tampering(path, before)}
        dropped = {path for path in changed - tampering if not _is_source(path, after.get(path, b""))}
        kept = changed - tampering - dropped
        return cls(
            {path: after[path] for path in sorted(kept & after.keys())},
            frozenset(kept - after.keys()),
            tuple(sorted(dropped)),
            tuple(sorted(tampering)),
        )

    def applied(self, tree: Tree) -> dict[str, bytes]:
        """A copy of the tree with what is taken over."""
        return {path: data for path, data in tree.items() if path not in self.removed} | dict(self.written)


def is_test(path: str) -> bool:
    """Whether a path belongs to the tests.

    >>> is_test("tests/test_cache.py"), is_test("cache/store.py")
    (True, False)
    """
    parts = PurePosixPath(path).parts
    name = parts[-1]
    return bool({"test", "tests"} & set(parts[:-1])) or name.startswith("test_") or name.endswith("_test.py")


def _is_tampering(path: str, before: Tree) -> bool:
    parts = PurePosixPath(path).parts
    if parts[-1] in _TAMPERING or path.endswith(".pth"):
        return True
    shadows = parts[0].removesuffix(".py") in sys.stdlib_module_names
    return shadows and path.endswith(".py") and path not in before and not is_test(path)


def _is_source(path: str, data: bytes) -> bool:
    name = PurePosixPath(path)
    if is_test(path) or name.name in _RUNNERS_OWN or name.suffix in _COMPILED:
        return False
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def unified_diff(before: Tree, after: Tree) -> str:
    """The difference of two trees of text files, as `git diff` writes it for whole files."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            old, new = (f"a/{path}" if path in before else "/dev/null"), (f"b/{path}" if path in after else "/dev/null")
            lines.append(f"diff --git a/{path} b/{path}\n")
            difference = difflib.unified_diff(_lines(before.get(path)), _lines(after.get(path)), old, new)
            lines.extend(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in difference)
    return "".join(lines)


def _lines(data: bytes | None) -> list[str]:
    return (data or b"").decode("utf-8", "replace").splitlines(keepends=True)
