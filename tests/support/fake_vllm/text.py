"""Sampled ids to text, one at a time, the way vLLM's detokenizer does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

REPLACEMENT = "�"


class TokenTexts:
    """The text of single tokens, special ones spelt out, as log-probability records show it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.size = self.tokenizer.get_vocab_size(with_added_tokens=True)
        self._single = [self.decode([index]) for index in range(self.size)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """With special tokens spelt out."""
        text: str = self.tokenizer.decode(list(token_ids), skip_special_tokens=False)
        return text

    def names(self, token_ids: Sequence[int]) -> list[str]:
        """As the vocabulary writes them."""
        return [self.tokenizer.id_to_token(index) or "" for index in token_ids]

    def of(self, token_id: int, before: Sequence[int]) -> str:
        """The text of a token sampled after the ids `before`.

        One that ends in the middle of a character has none, and the one that completes the character has it all.
        """
        alone = self._single[token_id]
        if not alone.endswith(REPLACEMENT):
            return alone
        for count in range(1, min(len(before), 4) + 1):
            context = list(before[-count:])
            together = self.decode([*context, token_id])
            if together.endswith(REPLACEMENT):
                continue
            clean = len(context)
            while clean and self._single[context[clean - 1]].endswith(REPLACEMENT):
                clean -= 1
            return together.removeprefix(self.decode(context[:clean])) if clean else together
        return ""


class IncrementalText:
    """The growing text of one answer: bytes of a character that is not whole are held back, a stop string ends it."""

    def __init__(
        self,
        texts: TokenTexts,
        prompt_ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        stops: Sequence[str],
        include_stop: bool,
    ) -> None:
        self._tokenizer = texts.tokenizer
        self._skip = skip_special_tokens
        self._stream = DecodeStream(ids=list(prompt_ids), skip_special_tokens=skip_special_tokens)
        self._stops, self._include_stop = stops, include_stop
        self._held = max(map(len, stops)) - 1 if stops and not include_stop else 0
        self._sent = 0
        self.text = ""

    def feed(self, token_ids: Sequence[int], *, ended_by_token: bool) -> str | None:
        """Add tokens, the last of which ended the answer or not; returns the stop string that is now complete."""
        hidden = ended_by_token and not self._include_stop
        before = len(self.text)
        for token_id in token_ids[:-1] if hidden else token_ids:
            self.text += self._decode(token_id)
        return self._find_stop(len(self.text) - before) if token_ids else None

    def _decode(self, token_id: int) -> str:
        try:
            return self._stream.step(self._tokenizer, token_id) or ""
        except Exception as error:
            if "Invalid prefix" not in str(error):
                raise
            self._stream = DecodeStream(skip_special_tokens=self._skip)
            return self._stream.step(self._tokenizer, token_id) or ""

    def _find_stop(self, new: int) -> str | None:
        if not new:
            return None
        begin = {stop: self.text.find(stop, max(len(self.text) - new - len(stop) + 1, 0)) for stop in self._stops}
        found = [stop for stop in self._stops if begin[stop] >= 0]
        if not found:
            return None
        first = min(found, key=lambda stop: begin[stop] + len(stop))
        self.text = self.text[: begin[first] + (len(first) if self._include_stop else 0)]
        return first

    def delta(self, *, finished: bool) -> str:
        """What can be sent now and has not been."""
        end = len(self.text) - (0 if finished else self._held)
        if end <= self._sent:
            return ""
        start, self._sent = self._sent, end
        return self.text[start:end]
