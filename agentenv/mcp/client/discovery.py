"""Many tools without many descriptions: the model looks for those it needs, and is given only them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence

from agentenv.tools import Tool, ToolSpec

_WORD = re.compile(r"[a-z0-9]+")
_SHOWN = 5


class ToolIndex:
    """Finds tools by what is said of them: their names, descriptions and the names of their arguments.

    A tool's score is the sum of the inverse document frequencies of the words it shares with the query (Spärck Jones
    1972): there are a few hundred short texts, which need no more.

    >>> index = ToolIndex([Tool.of(lambda: None, name="send_mail"), Tool.of(lambda: None, name="read_mail")])
    >>> [tool.spec.name for tool in index.find("send something")]
    ['send_mail']
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._words = [(tool, frozenset(_words(tool.spec))) for tool in tools]
        frequency = Counter(word for _, words in self._words for word in words)
        self._weights = {word: math.log(1 + len(tools) / count) for word, count in frequency.items()}

    def find(self, query: str, most: int = _SHOWN) -> list[Tool]:
        """The best tools for a query, the best first; none that shares no word with it."""
        asked = {_stem(word) for word in _WORD.findall(query.lower())}
        scored = [(sum(self._weights[word] for word in words & asked), tool) for tool, words in self._words]
        best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: -pair[0])
        return [tool for _, tool in best[:most]]


def finder(index: ToolIndex, found: dict[str, Tool]) -> Tool:
    """The tool that finds others, which can be called from then on.

    Args:
        found: where those that were found are kept, by name.
    """

    def find_tools(query: str) -> str:
        """Finds tools by what they do. Those it names can be called from the next turn on.

        Args:
            query: a few words on what is to be done.
        """
        best = index.find(query)
        found.update((tool.spec.name, tool) for tool in best)
        if not best:
            return "No tool fits. Try other words."
        return json.dumps({tool.spec.name: tool.spec.description for tool in best}, ensure_ascii=False)

    return Tool.of(find_tools, inline=True)


def _words(spec: ToolSpec) -> set[str]:
    properties = spec.parameters.get("properties", {})
    text = " ".join([spec.name.replace("_", " "), spec.description, *map(str, properties)])
    return {_stem(word) for word in _WORD.findall(text.lower())}


def _stem(word: str) -> str:
    """Without the plural's ending."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
