"""The world `search`: documents that are found by their words, read, and cited by their ids."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from agentenv.errors import AgentenvError
from agentenv.threads import THREADS
from agentenv.tools import ToolError, tool
from agentenv_tools.world import World, register_world
from agentenv_tools.worlds.corpus import Index, shared_index

MOST_RESULTS = 20
LEAD = 200
"""Characters of a document that a search shows."""
MANY_DOCUMENTS = 5_000
"""From so many on a search is too slow for the event loop."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document as a search shows it."""

    id: str
    title: str
    beginning: str


@register_world
class SearchWorld(World):
    """Documents nobody can change.

    Args:
        corpus: a file of documents in JSON Lines; by default our own.

    Attributes:
        seen: ids of the documents that were shown in this episode.
    """

    name: ClassVar[str] = "search"
    stateful: ClassVar[bool] = False

    def __init__(self, rng: random.Random, corpus: str | None = None) -> None:
        self._corpus = corpus
        self._index: Index | None = None
        self.seen: frozenset[str] = frozenset()

    async def open(self) -> None:
        self._index = await shared_index(self._corpus)

    @property
    def index(self) -> Index:
        if self._index is None:
            raise AgentenvError("the documents are not open; await open() first")
        return self._index

    @tool
    async def search_documents(self, query: str, count: int = 5) -> list[Found]:
        """Finds documents by their words; the best come first, each with its id and how it begins.

        Args:
            query: Words that should be in it.
            count: How many documents, at most 20.
        """
        if not 1 <= count <= MOST_RESULTS:
            raise ToolError(f"Error: count lies between 1 and {MOST_RESULTS}.")
        index, words = self.index, query[:1_000]
        if len(index.documents) < MANY_DOCUMENTS:
            documents = index.find(words, count)
        else:
            documents = await THREADS.run(lambda: index.find(words, count))
        self.seen |= {document.id for document in documents}
        return [Found(document.id, document.title, document.text[:LEAD]) for document in documents]

    @tool(inline=True)
    def read_document(self, id: str) -> str:
        """Returns a whole document.

        Args:
            id: As a search shows it.
        """
        document = self.index.documents.get(id)
        if document is None:
            raise ToolError(f"Error: there is no document {id[:40]!r}. search_documents shows ids.")
        self.seen |= {id}
        return f"{document.title}\n\n{document.text}"

    def snapshot(self) -> tuple[Index | None, frozenset[str]]:
        return self._index, self.seen

    def restore(self, snapshot: tuple[Index | None, frozenset[str]]) -> None:
        self._index, self.seen = snapshot
