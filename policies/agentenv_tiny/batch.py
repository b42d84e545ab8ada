"""The running batch: sequences join, advance by one token and leave; the sampling thread owns it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentenv_tiny.forward import Chunk, SlotDecoder
from agentenv_tiny.generation import ActiveSequence, FinishReason, Generation
from agentenv_tiny.prefixes import BlockCache, PrefixCache, TurnCache
from agentenv_tiny.sampling import BatchSampler, Draw
from agentenv_tiny.weights import DecoderWeights

PREFIX_BYTES = 128 * 2**20
"""Memory of the prefix cache: 65,536 tokens at the default model size (2 KiB a token)."""


@dataclass(slots=True)
class BatchCounts:
    """What the batch has done since the start."""

    requests: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    sampled_tokens: int = 0


class RunningBatch:
    """Sequences in the slots 0..n-1 of a decoder.

    What there is to say to callers is collected in `answers`, in order; whoever drives the batch empties it.
    `token_bytes[id]` is the visible text of a token, read for stop strings; `end_id` ends an answer. Prefixes are kept
    by turn, or by blocks of `block_size` tokens.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        *,
        slots: int,
        version: int,
        end_id: int,
        token_bytes: Sequence[bytes],
        reuse_prefixes: bool,
        raw_logprobs: bool = False,
        block_size: int | None = None,
    ) -> None:
        self.decoder = SlotDecoder(weights, slots)
        self.version = version
        self.sequences: list[ActiveSequence] = []
        self.answers: list[tuple[ActiveSequence, Generation]] = []
        self.counts = BatchCounts()
        self._end_id = end_id
        self._token_bytes = token_bytes
        capacity = PREFIX_BYTES // self.decoder.bytes_per_token if reuse_prefixes else 0
        self._prefixes: PrefixCache = BlockCache(block_size, capacity) if block_size else TurnCache(end_id, capacity)
        self._raw_logprobs = raw_logprobs
        self._sampler: BatchSampler | None = None
        self._outdated = False

    def join(self, joining: Sequence[ActiveSequence]) -> None:
        """Run the new prompts and sample the first token of each.

        A prompt continues from its longest cached prefix; one that several requests share (the siblings of a group all
        start alike) runs once and is copied.
        """
        first = len(self.sequences)
        self.sequences.extend(joining)  # at once, so that a fault below finds them among those to be told
        self._sampler = None
        chunks: list[Chunk] = []
        rows: list[int] = []
        row_of_prompt: dict[tuple[str, tuple[int, ...]], int] = {}
        for slot, sequence in enumerate(joining, start=first):
            row = row_of_prompt.setdefault((sequence.salt, tuple(sequence.prompt_ids)), len(chunks))
            if row == len(chunks):
                chunks.append(self._chunk(slot, sequence))
            rows.append(row)
        logits = self.decoder.prefill(chunks)
        for slot, row in enumerate(rows, start=first):
            if chunks[row].slot != slot:
                self.decoder.move(chunks[row].slot, slot, len(joining[slot - first].prompt_ids))
        self._count_joined(joining, chunks)
        sampler = self._make_sampler(joining)
        self._append(joining, sampler.draw(logits[rows], [0] * len(joining)), first)

    def _make_sampler(self, sequences: Sequence[ActiveSequence]) -> BatchSampler:
        parameters, seeds = [each.parameters for each in sequences], [each.seed for each in sequences]
        return BatchSampler(parameters, seeds, raw_logprobs=self._raw_logprobs)

    def _chunk(self, slot: int, sequence: ActiveSequence) -> Chunk:
        prompt_ids = sequence.prompt_ids
        cached = self._prefixes.find(prompt_ids, sequence.salt)
        if cached is None:
            return Chunk(slot, 0, prompt_ids)
        self.decoder.restore(slot, cached)
        start = cached.shape[3]
        return Chunk(slot, start, prompt_ids[start:])

    def _count_joined(self, joining: Sequence[ActiveSequence], chunks: Sequence[Chunk]) -> None:
        prompt_tokens = sum(len(each.prompt_ids) for each in joining)
        self.counts.requests += len(joining)
        self.counts.prompt_tokens += prompt_tokens
        self.counts.reused_tokens += prompt_tokens - sum(len(chunk.token_ids) for chunk in chunks)

    def advance(self) -> None:
        """One token for every running sequence."""
        running = self.sequences
        if self._outdated:
            self._compute_again()
        if self._sampler is None:
            self._sampler = self._make_sampler(running)
        logits = self.decoder.decode([each.token_ids[-1] for each in running], [each.cached_length for each in running])
        self._append(running, self._sampler.draw(logits, [len(each.token_ids) for each in running]), 0)

    def _append(self, sequences: Sequence[ActiveSequence], draw: Draw, first: int) -> None:
        finished: dict[int, FinishReason] = {}
        version = self.version
        for row, (sequence, token_id, logprob) in enumerate(zip(sequences, draw.token_ids, draw.logprobs, strict=True)):
            starts = sequence.version_starts
            if not starts or starts[-1][0] != version:
                starts.append((version, len(sequence.token_ids)))
            sequence.token_ids.append(token_id)
            sequence.logprobs.append(logprob)
            if draw.ranks is not None:
                sequence.ranks.append(draw.ranks[row])
            if draw.top_logprobs is not None:
                sequence.top_logprobs.append(draw.top_logprobs[row][: sequence.parameters.top_logprobs])
            reason = self._finish_reason(sequence, token_id)
            if reason is not None:
                finished[first + row] = reason
            elif sequence.streams:
                self.say(sequence, sequence.snapshot(None))
        self.counts.sampled_tokens += len(sequences)
        self._remove(finished)

    def _finish_reason(self, sequence: ActiveSequence, token_id: int) -> FinishReason | None:
        parameters = sequence.parameters
        if token_id == self._end_id and not parameters.ignore_eos:
            return FinishReason.STOP
        if token_id in parameters.stop_token_ids:
            return FinishReason.STOP
        if parameters.stop:
            sequence.tail += self._token_bytes[token_id]
            stops = [text.encode() for text in parameters.stop]
            if any(stop in sequence.tail for stop in stops):
                return FinishReason.STOP
            sequence.tail = sequence.tail[-max(map(len, stops)) :]
        return FinishReason.LENGTH if len(sequence.token_ids) >= parameters.max_tokens else None

    def abort(self, sequences: Iterable[ActiveSequence]) -> None:
        """End those of `sequences` that run."""
        wanted = set(sequences)
        self._remove({index: FinishReason.ABORT for index, each in enumerate(self.sequences) if each in wanted})

    def _remove(self, finished: Mapping[int, FinishReason]) -> None:
        """Answer the finished sequences and close the gaps they leave, so that the running ones fill slots 0..n-1."""
        for index in sorted(finished, reverse=True):
            sequence, reason = self.sequences[index], finished[index]
            if sequence.token_ids and self._prefixes.keeps(sequence.token_ids[-1]) and not self._outdated:
                prefix = [*sequence.prompt_ids, *sequence.token_ids[:-1]]
                self._prefixes.store(prefix, self.decoder.export(index, len(prefix)), sequence.salt)
            self.say(sequence, sequence.snapshot(reason))
            last = self.sequences.pop()
            if last is not sequence:
                self.decoder.move(len(self.sequences), index, last.cached_length)
                self.sequences[index] = last
        if finished:
            self._sampler = None
        if not self.sequences:
            self._outdated = False

    def swap_weights(self, weights: DecoderWeights, version: int, *, keep_cached: bool) -> None:
        """Sample from `weights` from now on. Unless `keep_cached`, keys and values are computed again."""
        self.decoder.weights = weights
        self.version = version
        if not keep_cached:
            self.forget_cached(of_running=True)

    def forget_cached(self, *, of_running: bool) -> bool:
        """Empty the prefix cache; `of_running`: what is running computes its keys and values again before it goes on.

        Without it, False while requests run, and nothing is forgotten: they hold what is cached.
        """
        if self.sequences and not self._outdated:
            if not of_running:
                return False
            self._outdated = True
        self._prefixes.clear()
        return True

    def _compute_again(self) -> None:
        self._outdated = False
        texts = [[*each.prompt_ids, *each.token_ids[:-1]] for each in self.sequences]
        self.decoder.prefill([Chunk(slot, 0, text) for slot, text in enumerate(texts)])

    def say(self, sequence: ActiveSequence, generation: Generation) -> None:
        """Add to `answers`."""
        self.answers.append((sequence, generation))
