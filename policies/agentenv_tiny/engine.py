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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agentenv_tiny.batch import RunningBatch
from agentenv_tiny.delivery import ThreadCall, deliver, resolver
from agentenv_tiny.errors import ContextLengthError, EngineStoppedError, PromptError
from agentenv_tiny.generation import ActiveSequence, FinishReason, Generation, Hold
from agentenv_tiny.sampling import SamplingParameters
from agentenv_tiny.weights import DecoderWeights, read_weights

if TYPE_CHECKING:
    import torch

_T = TypeVar("_T")

PREFILL_TOKENS = 8192
"""Prompt tokens run in one step; above it, waiting requests join a step later, so that running ones keep their pace."""


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
    how many requests run at once; more wait their turn. `raw_logprobs` and `block_size` let it stand in for vLLM: they
    set what is reported (see BatchSampler) and how prefixes are cached (see BlockCache). Use as
    `with Engine(...) as engine`, or `start` and `stop`.

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
        raw_logprobs: bool = False,
        block_size: int | None = None,
    ) -> None:
        self.shape = weights.shape
        self._batch = RunningBatch(
            weights,
            slots=slots,
            version=version,
            end_id=end_id,
            token_bytes=token_bytes,
            reuse_prefixes=reuse_prefixes,
            raw_logprobs=raw_logprobs,
            block_size=block_size,
        )
        self._seeds = random.Random(seed)
        self._threads = threads
        self._wake = threading.Condition()
        self._waiting: deque[ActiveSequence] = deque()
        self._aborted: set[ActiveSequence] = set()
        self._calls: deque[ThreadCall] = deque()
        self._hold = Hold.NOTHING
        self._drained: list[Future[None]] = []
        self._stopping = False
        self._failure: Exception | None = None
        self._steps = 0
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
        return self._batch.version

    def statistics(self) -> EngineStatistics:
        """A snapshot of the counters, for metrics."""
        return EngineStatistics(
            running=len(self._batch.sequences),
            waiting=len(self._waiting),
            steps=self._steps,
            requests=self._batch.counts.requests,
            prompt_tokens=self._batch.counts.prompt_tokens,
            reused_tokens=self._batch.counts.reused_tokens,
            sampled_tokens=self._batch.counts.sampled_tokens,
            busy_seconds=self._busy_seconds,
            weight_version=self._batch.version,
        )

    # -- requests, called on an event loop -----------------------------------------------------------------------------

    async def generate(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, *, salt: str = ""
    ) -> Generation:
        """Sample one answer. Cancelling the call aborts the request and frees its slot.

        Prefixes are shared among requests of the same `salt`.

        Raises ContextLengthError when prompt and `max_tokens` exceed the context, EngineStoppedError without a thread.
        """
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        sequence = self.submit(prompt_ids, parameters, answer, salt=salt)
        try:
            generation = await answer
        except asyncio.CancelledError:
            self.abort(sequence)
            raise
        if generation.error is not None:
            raise generation.error
        return generation

    async def stream(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, *, salt: str = ""
    ) -> AsyncIterator[Generation]:
        """Yield the growing answer after each sampled token, last the finished one. Leaving the loop aborts."""
        answers: asyncio.Queue[Generation] = asyncio.Queue()
        sequence = self.submit(prompt_ids, parameters, answers, salt=salt)
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
        *,
        salt: str = "",
    ) -> ActiveSequence:
        """Queue a request of the running event loop; `generate` and `stream` are made of this and `abort`."""
        self.check_length(prompt_ids, parameters.max_tokens)
        streams = isinstance(answer, asyncio.Queue)
        sequence = ActiveSequence(
            prompt_ids=prompt_ids,
            parameters=parameters,
            seed=self._seeds.getrandbits(63) if parameters.seed is None else parameters.seed,
            loop=asyncio.get_running_loop(),
            deliver=answer.put_nowait if isinstance(answer, asyncio.Queue) else resolver(answer),
            streams=streams,
            salt=salt,
        )
        with self._wake:
            if not self.alive:
                raise EngineStoppedError(f"the sampling thread is not running ({self._failure or 'stopped'})")
            self._waiting.append(sequence)
            self._wake.notify()
        return sequence

    def check_length(self, prompt_ids: Sequence[int], max_tokens: int) -> None:
        """Raise ContextLengthError, saying by how much, or PromptError for an empty prompt or unknown ids."""
        if not prompt_ids:
            raise PromptError("the prompt is empty: at least one token is needed to continue from")
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.shape.vocabulary:
            raise PromptError(f"the prompt holds token ids outside 0..{self.shape.vocabulary - 1}")
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

    # -- pausing -------------------------------------------------------------------------------------------------------

    def hold(self, what: Hold) -> None:
        """Pause from the next step on, or with Hold.NOTHING go on. Requests are accepted and wait meanwhile."""
        with self._wake:
            self._hold = what
            self._wake.notify()

    def abort_all(self) -> Future[None]:
        """End all requests, each with the tokens it has; wait for `drained` to know them answered."""

        def abort_all() -> None:
            with self._wake:
                waiting, self._waiting = self._waiting, deque()
            for sequence in waiting:
                self._batch.say(sequence, sequence.snapshot(FinishReason.ABORT))
            self._batch.abort(self._batch.sequences)

        return self._between_steps(abort_all)

    def drained(self) -> Future[None]:
        """Resolves when no request is being sampled: what Hold.ADMISSION leads to."""
        done: Future[None] = Future()
        self._between_steps(partial(self._drained.append, done))
        return done

    def forget_prefixes(self, *, of_running: bool = False) -> Future[bool]:
        """Empty the prefix cache; see RunningBatch.forget_cached."""
        return self._between_steps(partial(self._batch.forget_cached, of_running=of_running))

    def stamp(self, version: int) -> Future[None]:
        """Give what is sampled from now on another version, with the weights as they are."""
        return self._between_steps(partial(setattr, self._batch, "version", version))

    # -- weights -------------------------------------------------------------------------------------------------------

    def load_weights(
        self, source: Mapping[str, torch.Tensor] | str | Path, version: int, *, keep_cached: bool = False
    ) -> Future[None]:
        """Swap in a `state_dict` or a saved folder between two steps; the future resolves once `version` samples.

        The source is read and checked here, in the caller's thread: WeightsError is raised before anything is changed.
        With `keep_cached` the keys and values of the old weights stay in use, the way vLLM keeps them until its prefix
        cache is reset: what is sampled is then the output of no model at all.
        """
        if isinstance(source, (str, Path)):
            weights = read_weights(source, self.shape)
        else:
            weights = DecoderWeights.from_state_dict(source, self.shape)
        return self._between_steps(partial(self._batch.swap_weights, weights, version, keep_cached=keep_cached))

    def _between_steps(self, function: Callable[[], _T]) -> Future[_T]:
        done: Future[_T] = Future()
        with self._wake:
            if not self.alive:
                raise EngineStoppedError(f"the sampling thread is not running ({self._failure or 'stopped'})")
            self._calls.append(ThreadCall(function, done))
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
            while not (self._stopping or self._calls or self._aborted or self._can_sample()):
                self._wake.wait()
            if self._stopping:
                return False
            aborted, self._aborted = self._aborted, set()
            if aborted:
                self._waiting = deque(each for each in self._waiting if self._keep_waiting(each, aborted))
        began = time.perf_counter()
        calls = len(self._calls)
        for index in range(calls):
            self._calls[index].run()
        self._batch.abort(aborted)
        if joining := self._take_waiting():
            self._batch.join(joining)
        if self._batch.sequences and self._hold is not Hold.SAMPLING:
            self._batch.advance()
        self._steps += 1
        self._busy_seconds += time.perf_counter() - began
        self._post()
        with self._wake:
            for _ in range(calls):  # only now: a fault above fails the futures of the calls it kept from running
                self._calls.popleft()
        if not self._batch.sequences:
            while self._drained:
                done = self._drained.pop()
                if done.set_running_or_notify_cancel():
                    done.set_result(None)
        return True

    def _can_sample(self) -> bool:
        running = bool(self._batch.sequences) and self._hold is not Hold.SAMPLING
        return running or (bool(self._waiting) and self._hold is Hold.NOTHING)

    def _keep_waiting(self, sequence: ActiveSequence, aborted: set[ActiveSequence]) -> bool:
        if sequence in aborted:
            self._batch.say(sequence, sequence.snapshot(FinishReason.ABORT))
        return sequence not in aborted

    def _take_waiting(self) -> list[ActiveSequence]:
        joining: list[ActiveSequence] = []
        room, budget = self._batch.decoder.slots - len(self._batch.sequences), PREFILL_TOKENS
        with self._wake:
            while self._waiting and self._hold is Hold.NOTHING and len(joining) < room and budget > 0:
                joining.append(self._waiting.popleft())
                budget -= len(joining[-1].prompt_ids)
        return joining

    # -- answers -------------------------------------------------------------------------------------------------------

    def _post(self) -> None:
        answers, self._batch.answers = self._batch.answers, []
        deliver(answers)

    def _fail_all(self) -> None:
        with self._wake:
            self._stopping = True
            error = EngineStoppedError(f"the sampling thread has ended ({self._failure or 'stopped'})")
            for sequence in (*self._batch.sequences, *self._waiting):
                self._batch.say(sequence, sequence.snapshot(FinishReason.ABORT, error))
            for call in self._calls:
                call.fail(error)
            for done in self._drained:
                if done.set_running_or_notify_cancel():
                    done.set_exception(error)
            self._batch.sequences.clear()
            self._waiting.clear()
            self._calls.clear()
            self._drained.clear()
        self._post()
