"""The engines behind the fake: one for the base model and one for each LoRA adapter, paused and updated together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentenv_tiny import Engine, EngineStoppedError, Generation, Hold, SamplingParameters, WeightsError
from agentenv_tiny.generation import ActiveSequence
from agentenv_tiny.vocabulary import Vocabulary
from agentenv_tiny.weights import DecoderWeights, read_shape
from tests.support.fake_vllm.options import LogprobsMode, ServerOptions
from tests.support.fake_vllm.profiles import WhilePaused
from tests.support.fake_vllm.refusals import Refusal, engine_dead, engine_paused, worker_failed
from tests.support.fake_vllm.weights import Adapter, State, WeightsFileError, held, read_state, updated

END_TOKEN = "<|end|>"


class PauseMode(StrEnum):
    """`/pause?mode=`."""

    ABORT = "abort"
    WAIT = "wait"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer to sample."""

    request_id: str
    model: str | None
    """The adapter's name; None for the base model."""
    prompt_ids: Sequence[int]
    parameters: SamplingParameters
    salt: str = ""


class Engines:
    """All state behind the routes. Its methods raise Refusal as the real server's workers would make it answer."""

    def __init__(self, folder: Path, options: ServerOptions) -> None:
        self.shape = read_shape(folder)
        self.vocabulary = Vocabulary.from_folder(folder)
        self.end_id = self.vocabulary.id_of(END_TOKEN)
        assert self.end_id is not None, f"{folder} is not a folder of agentenv_tiny"
        self.adapters: dict[str, Adapter] = {}
        self.pause_mode: PauseMode | None = None
        self.sleeping = False
        self._held = Hold.NOTHING
        self._weights_gone = False
        self._folder, self._options = folder, options
        self._state: State = read_state(folder)
        self._labels = ["default"]
        self._seeds = itertools.count(options.seed)
        self._engines: dict[str | None, Engine] = {None: self._make_engine(self._state)}
        self._running: dict[str, list[tuple[Engine, ActiveSequence]]] = {}

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._engines[None].start()

    def stop(self) -> None:
        """Also what a dead engine looks like: requests in flight fail, new ones are refused."""
        for engine in self._engines.values():
            engine.stop()

    @property
    def alive(self) -> bool:
        return all(engine.alive for engine in self._engines.values())

    @property
    def label(self) -> str:
        """The weight version."""
        return self._labels[-1]

    def label_of(self, version: int) -> str:
        """The weight version that the engines know by number."""
        return self._labels[version]

    @property
    def max_model_len(self) -> int:
        return self._options.max_model_len or self.shape.context

    @property
    def state(self) -> State:
        """The base model's tensors as a checkpoint names them."""
        return self._state

    def statistics(self) -> dict[str, int]:
        """Sums over the engines."""
        found = [engine.statistics() for engine in self._engines.values()]
        names = ("running", "waiting", "prompt_tokens", "reused_tokens", "sampled_tokens")
        return {name: sum(getattr(each, name) for each in found) for name in names}

    # -- sampling ------------------------------------------------------------------------------------------------------

    async def generate(self, asked: Asked) -> Generation:
        """The whole answer; leaving early aborts."""
        answer: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        engine, sequence = self._submit(asked, answer)
        try:
            generation = await answer
        except asyncio.CancelledError:
            engine.abort(sequence)
            raise
        finally:
            self._forget(asked, sequence)
        if generation.error is not None:
            raise engine_dead()
        return generation

    async def stream(self, asked: Asked) -> AsyncIterator[Generation]:
        """The growing answer after each token; leaving early aborts."""
        answers: asyncio.Queue[Generation] = asyncio.Queue()
        engine, sequence = self._submit(asked, answers)
        try:
            while True:
                generation = await answers.get()
                if generation.error is not None:
                    raise engine_dead()
                yield generation
                if generation.finish_reason is not None:
                    return
        finally:
            self._forget(asked, sequence)
            engine.abort(sequence)

    def check_alive(self) -> None:
        """Raises the refusal of a dead engine."""
        if not self.alive:
            raise engine_dead()

    def abort(self, request_ids: Sequence[str] | None) -> int:
        """End the named requests, or all; returns how many there were to end."""
        names = list(self._running) if request_ids is None else list(request_ids)
        for name in names:
            for engine, sequence in self._running.get(name, ()):
                engine.abort(sequence)
        return len(names)

    def _submit(
        self, asked: Asked, answer: asyncio.Future[Generation] | asyncio.Queue[Generation]
    ) -> tuple[Engine, ActiveSequence]:
        rejects = self._options.profile.while_paused is WhilePaused.REJECTED
        if rejects and not self.sleeping and self.pause_mode in (PauseMode.ABORT, PauseMode.WAIT):
            raise engine_paused()
        if self._weights_gone and self._held is Hold.NOTHING:
            self.stop()
        engine = self._engines[asked.model]
        try:
            sequence = engine.submit(asked.prompt_ids, asked.parameters, answer, salt=asked.salt)
        except EngineStoppedError as error:
            raise engine_dead() from error
        self._running.setdefault(asked.request_id, []).append((engine, sequence))
        return engine, sequence

    def _forget(self, asked: Asked, sequence: ActiveSequence) -> None:
        left = [pair for pair in self._running.pop(asked.request_id, ()) if pair[1] is not sequence]
        if left:
            self._running[asked.request_id] = left

    # -- pausing -------------------------------------------------------------------------------------------------------

    async def pause(self, mode: PauseMode, *, clear_cache: bool = True) -> None:
        """Returns when the mode's promise is kept: all aborted, all finished, or all frozen."""
        profile = self._options.profile
        self.pause_mode = mode
        self._hold(Hold.SAMPLING if mode is PauseMode.KEEP else Hold.ADMISSION)
        if mode is not PauseMode.KEEP:
            if mode is PauseMode.ABORT:
                await self._all([engine.abort_all() for engine in self._engines.values()])
            await self._all([engine.drained() for engine in self._engines.values()])
        if clear_cache:
            await self.reset_prefix_cache(of_running=profile.keep_recomputes)

    async def resume(self) -> None:
        self.pause_mode = None
        self.sleeping = False
        self._hold(Hold.NOTHING)

    async def sleep(self, level: int, mode: PauseMode) -> None:
        """Only the pause is real: there is no device memory to give back."""
        await self.pause(mode, clear_cache=level > 0)
        self.sleeping = True

    async def reset_prefix_cache(self, *, of_running: bool = False) -> bool:
        """False, with nothing forgotten, while running requests hold what is cached."""
        forgotten = [engine.forget_prefixes(of_running=of_running) for engine in self._engines.values()]
        return all(await self._all(forgotten))

    def _hold(self, what: Hold) -> None:
        self._held = what
        self._check_weights()
        for engine in self._engines.values():
            engine.hold(what)

    # -- weights -------------------------------------------------------------------------------------------------------

    def forsake_weights(self) -> None:
        """vLLM makes room for new weights before it has them: what is sampled until then kills the engine."""
        self._weights_gone = True
        self._check_weights()

    async def take_update_back(self) -> int:
        """The weights from before an interrupted update; returns how many layers had been waiting for theirs."""
        waiting = len(held(self._state)) if self._weights_gone else 0
        if self.alive:
            await self.load({})
        return waiting

    def _check_weights(self) -> None:
        found = [engine.statistics() for engine in self._engines.values()]
        running = any(each.running for each in found) and self._held is not Hold.SAMPLING
        if self._weights_gone and (running or (any(each.waiting for each in found) and self._held is Hold.NOTHING)):
            self.stop()

    async def reload_weights(self, path: str | None) -> None:
        """What `reload_weights` of `/collective_rpc` does: a folder's weights; what is cached stays as it is."""
        try:
            await self.load(await self.read(Path(path) if path else self._folder))
        except Refusal:
            self.forsake_weights()
            raise

    async def read(self, path: Path) -> State:
        """The tensors of a folder or file. Raises Refusal when there are none, or not such as the model has."""
        try:
            part = await asyncio.to_thread(read_state, path)
            updated(self._state, part)
        except WeightsFileError as error:
            raise worker_failed(str(error)) from error
        return part

    async def load(self, part: State) -> None:
        """Tensors in place of those of the same name; what is cached stays as it is."""
        try:
            state = updated(self._state, part)
            weights = {None: state} | {name: each.merged_into(state) for name, each in self.adapters.items()}
            version = len(self._labels) - 1
            loading = [
                engine.load_weights(weights[name], version, keep_cached=True) for name, engine in self._engines.items()
            ]
            self._state = state
            self._weights_gone = False
            await self._all(loading)
        except (WeightsError, WeightsFileError) as error:
            raise worker_failed(str(error)) from error
        except EngineStoppedError as error:
            raise engine_dead() from error

    async def set_label(self, label: str) -> None:
        """Stamp what is sampled from now on."""
        self._labels.append(label)
        await self._all([engine.stamp(len(self._labels) - 1) for engine in self._engines.values()])

    async def load_adapter(self, adapter: Adapter) -> None:
        """Serve it under its name. From the path it had before, cached keys and values of the old one stay in use."""
        known = self.adapters.get(adapter.name)
        state = adapter.merged_into(self._state)
        self.adapters[adapter.name] = adapter
        if known is not None:
            engine, same_path = self._engines[adapter.name], known.path == adapter.path
            version = len(self._labels) - 1
            await self._all([engine.load_weights(state, version, keep_cached=True)])
            if not same_path:
                await self._all([engine.forget_prefixes(of_running=False)])
            return
        engine = self._make_engine(state)
        engine.hold(self._held)
        engine.start()
        self._engines[adapter.name] = engine

    async def unload_adapter(self, name: str) -> None:
        """Its requests in flight are aborted, as nothing serves them any more."""
        del self.adapters[name]
        engine = self._engines.pop(name)
        await self._all([engine.abort_all()])
        await asyncio.to_thread(engine.stop)

    def _make_engine(self, state: State) -> Engine:
        options = self._options
        assert self.end_id is not None
        return Engine(
            DecoderWeights.from_state_dict(state, self.shape),
            end_id=self.end_id,
            token_bytes=self.vocabulary.token_bytes,
            slots=options.max_num_seqs,
            version=len(self._labels) - 1,
            seed=next(self._seeds),
            threads=1,
            reuse_prefixes=options.prefix_caching,
            raw_logprobs=options.logprobs_mode is LogprobsMode.RAW,
            block_size=options.block_size,
        )

    @staticmethod
    async def _all(futures: Sequence[Future[bool]] | Sequence[Future[None]]) -> list[bool | None]:
        return list(await asyncio.gather(*(asyncio.wrap_future(future) for future in futures)))
