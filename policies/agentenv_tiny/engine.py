"""Continuous-batching sampler: a thread in which requests join and leave between the steps of one running batch."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentenv_tiny.errors import ContextLengthError, EngineStoppedError
from agentenv_tiny.forward import Chunk, SlotDecoder
from agentenv_tiny.generation import ActiveSequence, FinishReason, Generation
from agentenv_tiny.prefixes import PrefixCache
from agentenv_tiny.sampling import BatchSampler, Draw, SamplingParameters
from agentenv_tiny.weights import DecoderWeights, read_weights

if TYPE_CHECKING:
    import torch

PREFILL_TOKENS = 8192
"""Prompt tokens run in one step; above it, waiting requests join a step later, so that running ones keep their pace."""
PREFIX_BYTES = 128 * 2**20
"""Memory of the prefix cache: 65,536 tokens at the default model size (2 KiB a token)."""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Counts since the start. `busy_seconds` against wall time gives the bubble: the share with nothing to do."""

    running: int
    waiting: int
    steps: int
    requests: int
    prompt_tokens: int
    reused_tokens: int
    sampled_tokens: int
    busy_seconds: float
    weight_version: int


class Engine:
    """Serves one model to many concurrent requests.

    `token_bytes[id]` is the visible text of a token (needed for stop strings); `end_id` ends an answer. `slots` bounds
    how many requests run at once; more wait their turn. Use as `with Engine(...) as engine`, or `start` and `stop`.

    New weights take effect between two steps. Requests in flight continue: their keys and values are computed again
    under the new weights and the prefix cache is emptied, so that the log-probability of every later token is exactly
    what the new model gives for the whole prefix; stale keys would make it the probability under no model at all.
    Every token is stamped with the version that sampled it.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        *,
        end_id: int,
        token_bytes: Sequence[bytes],
        slots: int = 256,
        version: int = 0,
        seed: int | None = None,
        threads: int | None = None,
        reuse_prefixes: bool = True,
    ) -> None:
        self.shape = weights.shape
        self._decoder = SlotDecoder(weights, slots)
        self._end_id = end_id
        self._token_bytes = token_bytes
        self._version = version
        self._seeds = random.Random(seed)
        self._threads = threads
        self._prefixes = PrefixCache(end_id, PREFIX_BYTES // self._decoder.bytes_per_token if reuse_prefixes else 0)
        self._wake = threading.Condition()
        self._waiting: deque[ActiveSequence] = deque()
        self._aborted: set[ActiveSequence] = set()
        self._swap: list[tuple[DecoderWeights, int, Future[None]]] = []
        self._stopping = False
        self._failure: Exception | None = None
        self._running: list[ActiveSequence] = []
        self._sampler: BatchSampler | None = None
        self._outbox: dict[asyncio.AbstractEventLoop, list[tuple[ActiveSequence, Generation]]] = {}
        self._steps = self._requests = self._prompt_tokens = self._reused_tokens = self._sampled_tokens = 0
        self._busy_seconds = 0.0
        self._thread = threading.Thread(target=self._main, name="agentenv-tiny-engine", daemon=True)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the sampling thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; requests in flight fail with EngineStoppedError. Safe to call twice."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether requests are being served."""
        return self._thread.is_alive() and not self._stopping and self._failure is None

    @property
    def version(self) -> int:
        """The version of the weights that sample the next token."""
        return self._version

    def statistics(self) -> EngineStatistics:
        """A snapshot of the counters, for metrics."""
        return EngineStatistics(
            running=len(self._running),
            waiting=len(self._waiting),
            steps=self._steps,
            requests=self._requests,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused_tokens,
            sampled_tokens=self._sampled_tokens,
            busy_seconds=self._busy_seconds,
            weight_version=self._version,
        )

    # -- requests, called on an event loop -----------------------------------------------------------------------------

    async def generate(self, prompt_ids: Sequence[int], parameters: SamplingParameters) -> Generation:
        """Sample one answer. Cancelling the call aborts the request and frees its slot.

        Raises ContextLengthError when prompt and `max_tokens` exceed the context, EngineStoppedError without a thread.
        """
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        sequence = self.submit(prompt_ids, parameters, answer)
        try:
            generation = await answer
        except asyncio.CancelledError:
            self.abort(sequence)
            raise
        if generation.error is not None:
            raise generation.error
        return generation

    async def stream(self, prompt_ids: Sequence[int], parameters: SamplingParameters) -> AsyncIterator[Generation]:
        """Yield the growing answer after each sampled token, last the finished one. Leaving the loop aborts."""
        answers: asyncio.Queue[Generation] = asyncio.Queue()
        sequence = self.submit(prompt_ids, parameters, answers)
        try:
            while True:
                generation = await answers.get()
                if generation.error is not None:
                    raise generation.error
                yield generation
                if generation.finish_reason is not None:
                    return
        finally:
            self.abort(sequence)

    def submit(
        self,
        prompt_ids: Sequence[int],
        parameters: SamplingParameters,
        answer: asyncio.Future[Generation] | asyncio.Queue[Generation],
    ) -> ActiveSequence:
        """Queue a request of the running event loop; `generate` and `stream` are made of this and `abort`."""
        self.check_length(prompt_ids, parameters.max_tokens)
        streams = isinstance(answer, asyncio.Queue)
        sequence = ActiveSequence(
            prompt_ids=prompt_ids,
            parameters=parameters,
            seed=self._seeds.getrandbits(63) if parameters.seed is None else parameters.seed,
            loop=asyncio.get_running_loop(),
            deliver=answer.put_nowait if isinstance(answer, asyncio.Queue) else _resolver(answer),
            streams=streams,
        )
        with self._wake:
            if not self.alive:
                raise EngineStoppedError(f"the sampling thread is not running ({self._failure or 'stopped'})")
            self._waiting.append(sequence)
            self._wake.notify()
        return sequence

    def check_length(self, prompt_ids: Sequence[int], max_tokens: int) -> None:
        """Raise ContextLengthError, saying by how much, or ValueError for an empty prompt or unknown ids."""
        if not prompt_ids:
            raise ValueError("the prompt is empty: at least one token is needed to continue from")
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.shape.vocabulary:
            raise ValueError(f"the prompt holds token ids outside 0..{self.shape.vocabulary - 1}")
        if len(prompt_ids) + max_tokens > self.shape.context:
            raise ContextLengthError(
                f"This model's maximum context length is {self.shape.context} tokens. However, you requested "
                f"{max_tokens} output tokens and your prompt contains {len(prompt_ids)} input tokens. "
                "Shorten the prompt or lower max_tokens."
            )

    def abort(self, sequence: ActiveSequence) -> None:
        """End a request: its slot is freed before the next step and it is answered with `finish_reason` abort."""
        with self._wake:
            self._aborted.add(sequence)
            self._wake.notify()

    # -- weights -------------------------------------------------------------------------------------------------------

    def load_weights(self, source: Mapping[str, torch.Tensor] | str | Path, version: int) -> Future[None]:
        """Swap in a `state_dict` or a saved folder between two steps; the future resolves once `version` samples.

        The source is read and checked here, in the caller's thread: WeightsError is raised before anything is changed.
        """
        if isinstance(source, (str, Path)):
            weights = read_weights(source, self.shape)
        else:
            weights = DecoderWeights.from_state_dict(source, self.shape)
        done: Future[None] = Future()
        with self._wake:
            if not self.alive:
                raise EngineStoppedError(f"the sampling thread is not running ({self._failure or 'stopped'})")
            self._swap.append((weights, version, done))
            self._wake.notify()
        return done

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        if self._threads is not None:
            import torch

            torch.set_num_threads(self._threads)
        try:
            while self._step():
                pass
        except Exception as error:  # the thread's outermost frame: every request must hear of it
            self._failure = error
        finally:
            self._fail_all()

    def _step(self) -> bool:
        with self._wake:
            while not (self._stopping or self._running or self._waiting or self._swap or self._aborted):
                self._wake.wait()
            if self._stopping:
                return False
            swaps = list(self._swap)
            aborted, self._aborted = self._aborted, set()
            if aborted:
                self._waiting = deque(each for each in self._waiting if self._keep_waiting(each, aborted))
            joining = self._take_waiting(len(aborted.intersection(self._running)))
        began = time.perf_counter()
        for weights, version, done in swaps:
            if done.set_running_or_notify_cancel():
                self._swap_weights(weights, version)
                done.set_result(None)
            with self._wake:
                self._swap.pop(0)
        self._remove({index: FinishReason.ABORT for index, each in enumerate(self._running) if each in aborted})
        if joining:
            self._join(joining)
        if self._running:
            self._advance()
        self._steps += 1
        self._busy_seconds += time.perf_counter() - began
        self._post()
        return True

    def _keep_waiting(self, sequence: ActiveSequence, aborted: set[ActiveSequence]) -> bool:
        if sequence in aborted:
            self._say(sequence, sequence.snapshot(FinishReason.ABORT))
        return sequence not in aborted

    def _take_waiting(self, freed: int) -> list[ActiveSequence]:
        joining: list[ActiveSequence] = []
        room, budget = self._decoder.slots - len(self._running) + freed, PREFILL_TOKENS
        while self._waiting and len(joining) < room and budget > 0:
            joining.append(self._waiting.popleft())
            budget -= len(joining[-1].prompt_ids)
        return joining

    def _join(self, joining: list[ActiveSequence]) -> None:
        """Run the new prompts and sample the first token of each.

        A prompt continues from its longest cached prefix; one that several requests share (the siblings of a group all
        start alike) runs once and is copied.
        """
        first = len(self._running)
        self._running.extend(joining)  # at once, so that a fault below finds them among those to be told
        self._sampler = None
        chunks: list[Chunk] = []
        rows: list[int] = []
        row_of_prompt: dict[tuple[int, ...], int] = {}
        for slot, sequence in enumerate(joining, start=first):
            row = row_of_prompt.setdefault(tuple(sequence.prompt_ids), len(chunks))
            if row == len(chunks):
                chunks.append(self._chunk(slot, sequence.prompt_ids))
            rows.append(row)
        logits = self._decoder.prefill(chunks)
        for slot, row in enumerate(rows, start=first):
            if chunks[row].slot != slot:
                self._decoder.move(chunks[row].slot, slot, len(joining[slot - first].prompt_ids))
        self._count_joined(joining, chunks)
        sampler = BatchSampler([each.parameters for each in joining], [each.seed for each in joining])
        self._append(joining, sampler.draw(logits[rows], [0] * len(joining)), first)

    def _chunk(self, slot: int, prompt_ids: Sequence[int]) -> Chunk:
        cached = self._prefixes.find(prompt_ids)
        if cached is None:
            return Chunk(slot, 0, prompt_ids)
        self._decoder.restore(slot, cached)
        start = cached.shape[3]
        return Chunk(slot, start, prompt_ids[start:])

    def _count_joined(self, joining: Sequence[ActiveSequence], chunks: Sequence[Chunk]) -> None:
        prompt_tokens = sum(len(each.prompt_ids) for each in joining)
        self._requests += len(joining)
        self._prompt_tokens += prompt_tokens
        self._reused_tokens += prompt_tokens - sum(len(chunk.token_ids) for chunk in chunks)

    def _advance(self) -> None:
        """One token for every running sequence."""
        running = self._running
        if self._sampler is None:
            self._sampler = BatchSampler([each.parameters for each in running], [each.seed for each in running])
        logits = self._decoder.decode(
            [each.token_ids[-1] for each in running], [each.cached_length for each in running]
        )
        self._append(running, self._sampler.draw(logits, [len(each.token_ids) for each in running]), 0)

    def _append(self, sequences: Sequence[ActiveSequence], draw: Draw, first: int) -> None:
        finished: dict[int, FinishReason] = {}
        version = self._version
        for row, (sequence, token_id, logprob) in enumerate(zip(sequences, draw.token_ids, draw.logprobs, strict=True)):
            starts = sequence.version_starts
            if not starts or starts[-1][0] != version:
                starts.append((version, len(sequence.token_ids)))
            sequence.token_ids.append(token_id)
            sequence.logprobs.append(logprob)
            if draw.top_logprobs is not None:
                sequence.top_logprobs.append(draw.top_logprobs[row][: sequence.parameters.top_logprobs])
            reason = self._finish_reason(sequence, token_id)
            if reason is not None:
                finished[first + row] = reason
            elif sequence.streams:
                self._say(sequence, sequence.snapshot(None))
        self._sampled_tokens += len(sequences)
        self._remove(finished)

    def _finish_reason(self, sequence: ActiveSequence, token_id: int) -> FinishReason | None:
        parameters = sequence.parameters
        if token_id == self._end_id and not parameters.ignore_eos:
            return FinishReason.STOP
        if parameters.stop:
            sequence.tail += self._token_bytes[token_id]
            stops = [text.encode() for text in parameters.stop]
            if any(stop in sequence.tail for stop in stops):
                return FinishReason.STOP
            sequence.tail = sequence.tail[-max(map(len, stops)) :]
        return FinishReason.LENGTH if len(sequence.token_ids) >= parameters.max_tokens else None

    def _remove(self, finished: Mapping[int, FinishReason]) -> None:
        """Answer the finished sequences and close the gaps they leave, so that the running ones fill slots 0..n-1."""
        for index in sorted(finished, reverse=True):
            sequence, reason = self._running[index], finished[index]
            if sequence.token_ids and sequence.token_ids[-1] == self._end_id and reason is FinishReason.STOP:
                prefix = [*sequence.prompt_ids, *sequence.token_ids[:-1]]
                self._prefixes.store(prefix, self._decoder.export(index, len(prefix)))
            self._say(sequence, sequence.snapshot(reason))
            last = self._running.pop()
            if last is not sequence:
                self._decoder.move(len(self._running), index, last.cached_length)
                self._running[index] = last
        if finished:
            self._sampler = None

    def _swap_weights(self, weights: DecoderWeights, version: int) -> None:
        self._decoder.weights = weights
        self._version = version
        self._prefixes.clear()
        if self._running:
            sequences = enumerate(self._running)
            self._decoder.prefill(
                [Chunk(slot, 0, [*each.prompt_ids, *each.token_ids[:-1]]) for slot, each in sequences]
            )

    # -- answers -------------------------------------------------------------------------------------------------------

    def _say(self, sequence: ActiveSequence, generation: Generation) -> None:
        self._outbox.setdefault(sequence.loop, []).append((sequence, generation))

    def _post(self) -> None:
        """Hand over what a step produced with one call for each event loop, since waking a loop is what costs."""
        outbox, self._outbox = self._outbox, {}
        for loop, answers in outbox.items():
            try:
                loop.call_soon_threadsafe(_deliver, answers)
            except RuntimeError:  # the caller's loop is closed: nobody is waiting any more
                continue

    def _fail_all(self) -> None:
        with self._wake:
            self._stopping = True
            error = EngineStoppedError(f"the sampling thread has ended ({self._failure or 'stopped'})")
            for sequence in (*self._running, *self._waiting):
                self._say(sequence, sequence.snapshot(FinishReason.ABORT, error))
            for _, _, done in self._swap:
                if not done.done():
                    done.set_exception(error)
            self._running.clear()
            self._waiting.clear()
            self._swap.clear()
        self._post()


def _resolver(answer: asyncio.Future[Generation]) -> Callable[[Generation], None]:
    def resolve(generation: Generation) -> None:
        if not answer.done():
            answer.set_result(generation)

    return resolve


def _deliver(answers: Sequence[tuple[ActiveSequence, Generation]]) -> None:
    for sequence, generation in answers:
        sequence.deliver(generation)
