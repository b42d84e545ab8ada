"""Log-probability records in the three shapes of the routes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from agentenv_tiny import Generation
from tests.support.fake_vllm.refusals import Json
from tests.support.fake_vllm.text import TokenTexts

FLOOR = -9999.0
"""JSON has no minus infinity: what the filters excluded."""

Entry = tuple[int, float, int]
"""(token id, log-probability, rank)."""


class LogprobWriter:
    """Writes records of the tokens from `start` on."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts

    def chat(self, generation: Generation, count: int, *, as_ids: bool, start: int = 0) -> Json:
        """`logprobs` of a chat choice, `count` likely tokens beside each sampled one."""
        content = []
        for position in range(start, len(generation.token_ids)):
            before = generation.token_ids[:position]
            (token_id, logprob, _), *_ = entries = _entries(generation, position)
            decoded = self._texts.of(token_id, before)
            tops = [self._chat_top(entry, before, as_ids) for entry in entries[:count]]
            token = f"token_id:{token_id}" if as_ids else decoded
            content.append(
                {"token": token, "logprob": max(logprob, FLOOR), "bytes": _bytes(decoded), "top_logprobs": tops}
            )
        return {"content": content}

    def _chat_top(self, entry: Entry, before: Sequence[int], as_ids: bool) -> Json:
        token = f"token_id:{entry[0]}" if as_ids else self._texts.of(entry[0], before)
        return {"token": token, "logprob": max(entry[1], FLOOR), "bytes": _bytes(token)}

    def completion(self, generation: Generation, count: int, *, as_ids: bool, start: int = 0, offset: int = 0) -> Json:
        """`logprobs` of a completions choice; `offset` is the length of the texts of the tokens before `start`."""
        tokens, tops = [], []
        for position in range(start, len(generation.token_ids)):
            before = generation.token_ids[:position]
            shown = {
                f"token_id:{token_id}" if as_ids else self._texts.of(token_id, before): max(logprob, FLOOR)
                for token_id, logprob, _ in _entries(generation, position)[: count + 1]
            }
            tokens.append(next(iter(shown)))
            tops.append(shown)
        lengths = (len(token) for token in tokens)
        return {
            "text_offset": list(itertools.accumulate(lengths, initial=offset))[:-1] if tokens else [],
            "token_logprobs": [max(logprob, FLOOR) for logprob in generation.logprobs[start:]],
            "tokens": tokens,
            "top_logprobs": tops,
        }

    def by_token(self, generation: Generation, count: int, *, start: int = 0) -> Json:
        """`logprobs` of a generate choice since 0.32: ids and ranks, no text."""
        content = []
        for position in range(start, len(generation.token_ids)):
            shown = [
                {"token_id": token_id, "logprob": max(logprob, FLOOR), "rank": rank}
                for token_id, logprob, rank in _entries(generation, position)
            ]
            content.append({**shown[0], "top_logprobs": shown[: max(count, 1)]})
        return {"content": content}

    def by_placeholder(self, generation: Generation, count: int, *, start: int = 0) -> Json:
        """`logprobs` of a generate choice before 0.32: as in chat, with ids in place of texts and no bytes."""
        content = []
        for position in range(start, len(generation.token_ids)):
            shown = [
                {"token": f"token_id:{token_id}", "logprob": max(logprob, FLOOR), "bytes": None}
                for token_id, logprob, _ in _entries(generation, position)
            ]
            content.append({**shown[0], "top_logprobs": shown[: max(count, 1)]})
        return {"content": content}


def _entries(generation: Generation, position: int) -> list[Entry]:
    """The sampled token first, then the likeliest others in order."""
    token_id = generation.token_ids[position]
    rank = generation.ranks[position] if generation.ranks else 0
    tops = generation.top_logprobs[position] if generation.top_logprobs else ()
    others = [(other, logprob, place) for place, (other, logprob) in enumerate(tops, start=1) if other != token_id]
    return [(token_id, generation.logprobs[position], rank), *others]


def _bytes(text: str) -> list[int]:
    return list(text.encode())
