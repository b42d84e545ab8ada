"""The training loop: roll out, learn, serve the new weights; then again.

A run is a folder: `config.json`, `journal.sqlite`, `metrics.jsonl` and `checkpoints/`. Started again with the same
configuration it goes on: weights and optimizer come from the latest checkpoint, episodes played since then come from
the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from agentenv.config import load_config
from agentenv.episode import Episode
from agentenv.errors import ConfigError
from agentenv.evaluate import evaluate
from agentenv.evaluate.protocol import write_json
from agentenv.learn.checkpoints import Checkpoints, Progress
from agentenv.learn.config import TrainConfig, WarmupConfig
from agentenv.learn.errors import LearnError
from agentenv.learn.events import (
    CheckpointSaved,
    EpisodeFinished,
    Evaluated,
    IterationFinished,
    RunStarted,
    TrainEvent,
    TrainResult,
    WarmupStep,
)
from agentenv.learn.learner import Learned, Learner
from agentenv.learn.metrics import IterationMetrics, MetricsFile, Seconds, as_values
from agentenv.learn.model import load_model
from agentenv.learn.sources import TaskStream
from agentenv.learn.supervised import SupervisedStep
from agentenv.learn.testing import FinalTest
from agentenv.learn.warmup import warm_up
from agentenv.policy.contract import Sampling, TrainablePolicy
from agentenv.registry import EnvSpec
from agentenv.registry import spec as find_spec
from agentenv.rollout import Journal, RolloutEngine, group_requests
from agentenv.threads import THREADS

CONFIG = "config.json"
JOURNAL = "journal.sqlite"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"

Result = TypeVar("Result")


async def train(
    config: TrainConfig,
    policy: TrainablePolicy,
    run_folder: Path,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
) -> TrainResult:
    """Trains the model behind `policy` and returns where the best one lies.

    Cancelling it (Ctrl-C) is safe at any moment: nothing half-done is written, and the same call goes on later.

    Args:
        config: what to do.
        policy: serves the model to train; opened, and left open. In the end it serves the best weights where there is
            a final test, otherwise the latest.
        run_folder: new, or that of a run with the same configuration, which is then continued.
        on_event: told what happens, on the event loop; should be quick.

    Raises:
        ConfigError: the folder belongs to another configuration, or the environment is unknown or has too few tasks.
        LearnError: nothing could be learnt: no episode was scored, a gradient was not finite, a disk is full.
    """
    claim_run_folder(run_folder, config)
    spec = environment_spec(config)
    with Journal.open(run_folder / JOURNAL) as journal:
        async with RolloutEngine(policy, config.rollout, journal) as engine:
            run = await _Run.open(config, spec, policy, run_folder, engine, on_event)
            return await run.finish()


def claim_run_folder(run_folder: Path, config: TrainConfig) -> None:
    """Makes the folder this configuration's, or makes sure that it already is.

    Raises:
        ConfigError: it holds a run of another configuration; the message says what differs.
    """
    path = run_folder / CONFIG
    if path.exists():
        there = load_config(TrainConfig, path)
        if different := there.differences(config):
            lines = "".join(f"\n  {line}" for line in different)
            raise ConfigError(f"{run_folder} holds a run of another configuration; what differs:{lines}")
    run_folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config.model_dump(mode="json"))


def environment_spec(config: TrainConfig) -> EnvSpec:
    """The environment a configuration names, with its keyword arguments and turn limit."""
    spec = find_spec(config.environment).with_kwargs(**config.environment_kwargs)
    return spec if config.max_turns is None else spec.model_copy(update={"max_turns": config.max_turns})


class _Run:
    """A training run in progress."""

    def __init__(
        self,
        config: TrainConfig,
        spec: EnvSpec,
        policy: TrainablePolicy,
        run_folder: Path,
        engine: RolloutEngine,
        on_event: Callable[[TrainEvent], None],
        learner: Learner,
        progress: Progress,
        tasks: TaskStream,
    ) -> None:
        self._config = config
        self._spec = spec
        self._policy = policy
        self._folder = run_folder
        self._engine = engine
        self._tell = on_event
        self._progress = progress
        self._tasks = tasks
        self._learner = learner
        self._checkpoints = Checkpoints(run_folder / CHECKPOINTS, policy.model_folder)
        self._metrics = MetricsFile(run_folder / METRICS)
        self._sampling = Sampling(
            temperature=config.temperature, max_tokens=config.max_tokens, seed=config.seed, tokens=True
        )

    @classmethod
    async def open(
        cls,
        config: TrainConfig,
        spec: EnvSpec,
        policy: TrainablePolicy,
        run_folder: Path,
        engine: RolloutEngine,
        on_event: Callable[[TrainEvent], None],
    ) -> _Run:
        """Loads the model, from the latest checkpoint where there is one, warms a new one up, and serves it."""
        checkpoint = await _in_thread(Checkpoints(run_folder / CHECKPOINTS, policy.model_folder).latest)
        model_folder = policy.model_folder if checkpoint is None else checkpoint.folder
        model = await _in_thread(lambda: load_model(model_folder))
        env = spec.make()
        try:
            tasks = TaskStream(env.tasks(config.split), count=config.tasks_per_iteration, seed=config.seed)
        finally:
            await env.close()
        progress = Progress() if checkpoint is None else checkpoint.progress
        learner = Learner(model, config)
        run = cls(config, spec, policy, run_folder, engine, on_event, learner, progress, tasks)
        episodes = config.tasks_per_iteration * config.siblings
        on_event(RunStarted(run_folder, config.iterations, episodes, progress.iteration))
        if checkpoint is None and config.warmup is not None:
            await run._warm_up(config.warmup)
        if config.needs_reference:
            reference = await _in_thread(lambda: run._checkpoints.reference(model))
            learner.refer_to(reference)
        if checkpoint is not None:
            learner.load_state_dict(checkpoint.learner)
            torch.set_rng_state(checkpoint.torch_rng)
        await policy.publish(model.state_dict(), progress.iteration)
        run._metrics.forget_after(progress.iteration or -1)  # evaluation 0 is repeated with the start
        return run

    async def finish(self) -> TrainResult:
        """Runs the iterations that are left, and the tests before and after them."""
        config, test = self._config, self._final_test()
        last = self._folder
        reached = await self._evaluate() if self._progress.iteration == 0 else self._target_reached()
        before = None if test is None else await test.before(self._progress.iteration)
        while not reached and self._progress.iteration < config.iterations:
            iteration = self._progress.iteration + 1
            await self._iterate(iteration)
            self._progress = replace(self._progress, iteration=iteration)
            final = iteration == config.iterations
            if final or iteration % config.evaluation.every == 0:
                reached = await self._evaluate()
            if final or reached or iteration % config.checkpoint_every == 0:
                last = await self._save()
        if last == self._folder:
            last = await self._save()
        best = self._progress
        folder = self._checkpoints.best(best.best_iteration)
        best_folder = folder if folder.is_dir() else last
        return TrainResult(
            run_folder=self._folder,
            iterations=best.iteration,
            best_folder=best_folder,
            best_iteration=best.best_iteration,
            best_reward=best.best_reward,
            last_folder=last,
            before=before,
            after=None if test is None else await test.after(best.best_iteration, best_folder),
        )

    async def _warm_up(self, warmup: WarmupConfig) -> None:
        """Imitation first; its result is checkpoint 0, so that a resumed run does not learn it again."""
        loop = asyncio.get_running_loop()

        def on_step(step: SupervisedStep) -> None:
            event = WarmupStep(step.step + 1, warmup.steps, step.loss)
            loop.call_soon_threadsafe(self._tell, event)

        folder = self._policy.model_folder
        await warm_up(self._learner.model, folder, self._spec, self._config, warmup, on_step)
        await self._save()

    def _final_test(self) -> FinalTest | None:
        config, wanted = self._config, self._config.final_test
        if wanted is None:
            return None
        return FinalTest(wanted, config, self._spec, self._policy, self._folder, self._metrics, self._tell)

    async def _iterate(self, iteration: int) -> None:
        """One iteration: after it the updated weights are being served and its metrics are on disk."""
        clock = _Stopwatch()
        episodes = await self._roll_out(iteration)
        rollout = clock.lap()
        learned = await self._learn(episodes, iteration)
        clock.lap()
        await self._policy.publish(self._learner.model.state_dict(), iteration)
        seconds = Seconds(rollout, learned.rows_seconds, learned.update_seconds, clock.lap())
        metrics = IterationMetrics.of(iteration, episodes, learned, seconds)
        self._metrics.append("iteration", as_values(metrics))
        self._tell(IterationFinished(metrics))

    async def _roll_out(self, iteration: int) -> list[Episode]:
        """The iteration's episodes, in the order of their keys: training must not depend on who finished first."""
        config = self._config
        requests = list(
            group_requests(
                self._spec,
                self._tasks.of_iteration(iteration),
                siblings=config.siblings,
                seed=config.seed,
                iteration=iteration,
                sampling=self._sampling,
            )
        )
        order = {request.key: position for position, request in enumerate(requests)}
        episodes: list[Episode] = []
        async for episode in self._engine.run(requests):
            episodes.append(episode)
            self._tell(EpisodeFinished(iteration, len(episodes), len(requests), episode.status, episode.reward))
        if all(episode.reward is None for episode in episodes):
            raise LearnError(f"iteration {iteration}: no episode was scored. {_commonest_failure(episodes)}")
        return sorted(episodes, key=lambda episode: order[episode.key])

    async def _learn(self, episodes: list[Episode], iteration: int) -> Learned:
        threads = self._config.learner.threads

        def learn() -> Learned:
            if threads is not None:
                torch.set_num_threads(threads)
            return self._learner.learn(episodes, iteration)

        try:
            return await _in_thread(learn)
        except asyncio.CancelledError:
            self._learner.stop()
            raise

    async def _evaluate(self) -> bool:
        """Evaluates greedily, keeps the model when it is the best so far, and says whether the target is reached."""
        config, wanted, iteration = self._config, self._config.evaluation, self._progress.iteration
        evaluation = await evaluate(
            self._spec,
            self._policy,
            tasks=wanted.tasks,
            split=wanted.split,
            seed=config.seed,
            sampling=Sampling(temperature=0.0, max_tokens=config.max_tokens),
            config=config.rollout,
        )
        mean, known = evaluation.reward.mean, self._progress.best_reward
        best = mean is not None and (known is None or mean > known)
        if best:
            await _in_thread(lambda: self._checkpoints.save_best(self._learner.model, iteration))
            self._progress = replace(self._progress, best_iteration=iteration, best_reward=mean)
        self._metrics.append("evaluation", {"iteration": iteration, "best": best, **evaluation.to_json()})
        self._tell(Evaluated(iteration, evaluation, best))
        return mean is not None and wanted.stop_at is not None and mean >= wanted.stop_at

    def _target_reached(self) -> bool:
        """Whether the run that is being continued had already ended by reaching its target."""
        target, best = self._config.evaluation.stop_at, self._progress.best_reward
        return target is not None and best is not None and best >= target

    async def _save(self) -> Path:
        progress, learner = self._progress, self._learner
        folder = await _in_thread(lambda: self._checkpoints.save(learner.model, learner.state_dict(), progress))
        self._tell(CheckpointSaved(progress.iteration, folder))
        return folder


def _commonest_failure(episodes: list[Episode]) -> str:
    messages = Counter(episode.failure.message for episode in episodes if episode.failure is not None)
    if not messages:
        return "The environment returned None, not scored, for every one."
    message, count = messages.most_common(1)[0]
    return f"{count} of {len(episodes)} failed with: {message}"


async def _in_thread(function: Callable[[], Result]) -> Result:
    result: Result = await THREADS.run(function)
    return result


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before
