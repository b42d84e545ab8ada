"""Messages to prompt ids: rendering, and encoding segment by segment with a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentenv_tiny.template import CHAT_TEMPLATE, render_chat
from agentenv_tiny.vocabulary import Vocabulary

CACHED_SEGMENTS = 65_536

Renderer = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], bool], str]
"""(messages, tools, add_generation_prompt) to text."""


def render_natively(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], add_generation_prompt: bool
) -> str:
    """`render_chat` with positional arguments."""
    return render_chat(messages, tools, add_generation_prompt=add_generation_prompt)


def renderer_of(folder: str | Path) -> Renderer:
    """The native renderer when the folder holds the package's own template, else transformers' Jinja rendering."""
    path = Path(folder) / "chat_template.jinja"
    if path.is_file() and path.read_text() == CHAT_TEMPLATE:
        return render_natively
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def render(
        messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], add_generation_prompt: bool
    ) -> str:
        text: str = tokenizer.apply_chat_template(
            list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text

    return render


class PromptEncoder:
    """Encodes prompts by their segments between `separator` tokens, which the tokenizer never merges with neighbours.

    A conversation repeats all of its earlier segments at every turn, and siblings of a group share their first ones, so
    nearly every segment is found in the cache. The ids equal those of encoding the whole text.
    """

    def __init__(self, vocabulary: Vocabulary, separator: str) -> None:
        self._vocabulary = vocabulary
        self._separator = separator
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        pieces = text.split(self._separator)
        ids: list[int] = []
        for piece in pieces[:-1]:
            ids += self._segment(piece + self._separator)
        return ids + self._segment(pieces[-1])

    def _segment(self, text: str) -> list[int]:
        ids = self._cache.get(text)
        if ids is None:
            if len(self._cache) >= CACHED_SEGMENTS:
                self._cache.clear()
            ids = self._cache[text] = self._vocabulary.encode(text)
        return ids
