"""Where documents come from, and the index over them: BM25 by the library `bm25s`, built once for all episodes.

`bm25s` needs NumPy and nothing else; it would use numba and SciPy where they are installed, and is quick without.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from agentenv.errors import ConfigError, MissingDataError, MissingExtraError
from agentenv.resources import current
from agentenv.threads import THREADS
from agentenv_tools.worlds.library import Document, own_library

_EXPECTED = 'one JSON object a line: {"id": "doc-1", "title": "…", "text": "…"}'


class Index:
    """Documents, and which of them a query means. Nothing about it changes, so that threads may share it."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = {document.id: document for document in documents}
        self._order = tuple(self.documents)
        self._scorer = _bm25s().BM25()
        self._scorer.index(_words([f"{one.title} {one.text}" for one in documents]), show_progress=False)

    def find(self, query: str, count: int) -> list[Document]:
        """The documents a query means, best first; those that share no word with it are left out."""
        (words,) = _words([query])
        if not words:
            return []
        scores = self._scorer.get_scores(words)
        best = sorted(range(len(self._order)), key=lambda position: (-scores[position], position))[:count]
        return [self.documents[self._order[position]] for position in best if scores[position] > 0]


def _bm25s() -> Any:
    """The library, imported when the first index is built.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        library = importlib.import_module("bm25s")
    except ImportError:
        raise MissingExtraError("searching documents", "tools") from None
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it reports each index it builds, and switches that on itself
    return library


def _words(texts: list[str]) -> list[list[str]]:
    found: list[list[str]] = _bm25s().tokenize(texts, stopwords="en", return_ids=False, show_progress=False)
    return found


async def shared_index(path: str | None) -> Index:
    """The index over a file's documents, or over our own where there is no path.

    Raises:
        MissingDataError, ConfigError: as `read_documents`. MissingExtraError: `bm25s` is not installed.
    """
    shared = current()
    if shared is None:
        index: Index = await THREADS.run(lambda: _index(path, _changed(path)))
        return index
    return await shared.get(("agentenv_tools.search", path), lambda: _opened(path))


@contextlib.asynccontextmanager
async def _opened(path: str | None) -> AsyncIterator[Index]:
    yield await THREADS.run(lambda: _index(path, _changed(path)))


_BUILDING = threading.Lock()


def _index(path: str | None, changed: int) -> Index:
    """Threads that need the same one wait for whoever builds it."""
    with _BUILDING:
        return _built(path, changed)


@functools.lru_cache(maxsize=4)
def _built(path: str | None, changed: int) -> Index:
    return Index(own_library().documents if path is None else read_documents(path))


def _changed(path: str | None) -> int:
    """What tells one version of a file from another."""
    file = None if path is None else Path(path).expanduser()
    return file.stat().st_mtime_ns if file is not None and file.is_file() else 0


def read_documents(path: str) -> tuple[Document, ...]:
    """The documents of a file.

    Raises:
        MissingDataError: there is no such file. ConfigError: a line of it is no document, or an id is there twice.
    """
    found: dict[str, Document] = {}
    for where, row in read_lines(path, _EXPECTED):
        if not all(isinstance(row.get(key), str) for key in ("id", "title", "text")):
            raise ConfigError(f"{where} is no document; expected is {_EXPECTED}")
        if row["id"] in found or not row["id"].strip() or any(character in row["id"] for character in " ,;\t\n"):
            raise ConfigError(f"{where}: an id stands for one document, and holds no space, comma or semicolon")
        found[row["id"]] = Document(row["id"], row["title"], row["text"])
    if not found:
        raise ConfigError(f"{path} holds no document; expected is {_EXPECTED}")
    return tuple(found.values())


def read_lines(path: str, expected: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file in JSON Lines, each with where it stands.

    Raises:
        MissingDataError: there is no such file. ConfigError: a line of it is no JSON object.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingDataError(f"There is no file {file}. It should hold {expected}")
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{file}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{file}:{number} is no object; expected is {expected}")
        found.append((f"{file}:{number}", row))
    return found
