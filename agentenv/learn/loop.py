"""The training loop: take the oldest groups that are complete, learn, publish, evaluate, checkpoint; then again.

Rollouts, updates and evaluations go on side by side. `staleness` says how far rollouts may run ahead of the weights;
with 0 the very same loop takes turns. A run is a folder: `config.json`, `journal.sqlite`, `updates.jsonl`,
`metrics.jsonl`, `accounting.json` and `checkpoints/`. Started again with the same configuration it goes on: weights and
optimizer come from the latest checkpoint, the updates since then are made again from the groups they were made from,
and episodes that have ended come from the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import torch

from agentenv.episode import Episode
from agentenv.evaluate.protocol import write_json
from agentenv.learn.accounting import Ledger
from agentenv.learn.buffer import Settled
from agentenv.learn.checkpoints import Progress
from agentenv.learn.config import TrainConfig
from agentenv.learn.config.alarms import AlarmAction
from agentenv.learn.evaluations import Evaluations
from agentenv.learn.events import AlarmRaised, CheckpointSaved, Imitated, IterationFinished, TrainEvent, TrainResult
from agentenv.learn.groups import Batch, GroupRequests
from agentenv.learn.learner import Learned
from agentenv.learn.metrics import IterationMetrics, Seconds, as_values
from agentenv.learn.replayed import cut_off, replayed, scored_in
from agentenv.learn.rollouts import Rollouts
from agentenv.learn.setting import ACCOUNTING, JOURNAL, UPDATES, Setting, claim_run_folder, environment_spec
from agentenv.learn.starting import Started, start
from agentenv.learn.testing import FinalTest
from agentenv.learn.updates import LoggedUpdate, UpdateLog
from agentenv.policy.contract import TrainablePolicy
from agentenv.rollout import Journal, RolloutEngine
from agentenv.threads import THREADS


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
        JournalError: the journal cannot be written.
    """
    claim_run_folder(run_folder, config)
    spec = environment_spec(config)
    with Journal.open(run_folder / JOURNAL) as journal:
        async with RolloutEngine(policy, config.rollout, journal) as engine:
            setting = Setting(config, spec, policy, run_folder, journal, engine, on_event)
            run = _Run(setting, await start(setting))
            try:
                return await run.finish()
            except ExceptionGroup as several:
                failed = several.exceptions[0]
    raise failed  # what ended the run, as it was raised; the others were cancelled for it


class _Run:
    """A training run in progress: everything is loaded, and the weights of `progress` are being served."""

    def __init__(self, setting: Setting, started: Started) -> None:
        progress = started.progress
        self._setting, self._config = setting, setting.config
        self._learner = started.learner
        self._checkpoints, self._metrics = started.checkpoints, started.metrics
        self._iteration = progress.iteration
        self._settled = Settled(progress.settled_below, progress.settled_beyond)
        self._ledger = Ledger(progress.ledger)
        self._log = UpdateLog(setting.folder / UPDATES)
        self._requests = GroupRequests(self._config, setting.spec, started.tasks)
        self._rollouts = Rollouts(
            self._config, self._requests, setting.engine, progress.iteration, self._settled, setting.tell
        )
        self._writing = asyncio.Lock()
        self._evaluations = Evaluations(setting, self._checkpoints, self._metrics, self._writing, progress)
        self._clock, self._seconds = _Stopwatch(), started.metrics.seconds()
        self._stopped: str | None = None

    async def finish(self) -> TrainResult:
        """Makes the updates that are left, and the tests before and after them."""
        test = self._final_test()
        async with asyncio.TaskGroup() as tasks:
            await self._evaluate(tasks, wait=True)
        before = None if test is None else await test.before(self._iteration)
        if not self._over:
            async with asyncio.TaskGroup() as tasks:
                await self._train(tasks)
            await self._account()  # before the checkpoint, since whoever goes on from the last one has nothing to count
        last = await self._save()
        best_iteration = self._evaluations.best_iteration
        folder = self._checkpoints.best(best_iteration)
        best_folder = folder if folder.is_dir() else last
        return TrainResult(
            run_folder=self._setting.folder,
            iterations=self._iteration,
            best_folder=best_folder,
            best_iteration=best_iteration,
            best_reward=self._evaluations.best_reward,
            last_folder=last,
            stopped=self._stopped,
            before=before,
            after=None if test is None else await test.after(best_iteration, best_folder),
        )

    @property
    def _over(self) -> bool:
        limit = self._config.time_limit
        spent = self._iteration >= self._config.iterations or (limit is not None and self._seconds >= limit)
        return spent or self._evaluations.reached or self._stopped is not None

    @property
    def _overlaps(self) -> bool:
        """Whether rollouts go on while the learner learns; otherwise everything takes turns."""
        return self._config.staleness > 0

    async def _train(self, tasks: asyncio.TaskGroup) -> None:
        """Repeats the logged updates that the checkpoint does not hold, and makes new ones until the run is over."""
        self._setting.engine.stats.model_calls.lap()
        for logged in self._log.after(self._iteration):
            if self._over:
                return
            self._clock.lap()
            batch = await replayed(logged, self._requests, self._setting.journal, self._setting.engine)
            self._rollouts.replay()
            await self._iterate(batch, tasks)
        playing = tasks.create_task(self._rollouts.play(), name="agentenv-rollouts")
        while not self._over:
            self._clock.lap()
            batch = await self._rollouts.take()
            numbers = (tuple(group.number for group in groups) for groups in (batch.groups, batch.dropped))
            self._log.append(LoggedUpdate(self._iteration + 1, *numbers))
            await self._iterate(batch, tasks)
        playing.cancel()

    async def _iterate(self, batch: Batch, tasks: asyncio.TaskGroup) -> None:
        """One update: after it its weights are being served, its metrics are on disk, and admission is open."""
        iteration, waited = self._iteration + 1, self._clock.lap()
        learned = await self._learn(batch, iteration)
        self._heed(learned, iteration)
        if iteration in self._config.imitation.after:
            await self._imitate(batch, iteration)
        await self._evaluations.ended()  # its figure belongs to the weights before these
        self._clock.lap()
        await self._setting.policy.publish(self._learner.weights.state_dict(), iteration)
        seconds = Seconds(waited, learned.rows_seconds, learned.update_seconds, self._clock.lap())
        self._iteration, self._seconds = iteration, self._seconds + seconds.total
        self._settled.add(group.number for group in batch.drawn)
        self._ledger.settle(batch)
        if self._overlaps:
            self._rollouts.publish(iteration)
        lap = self._setting.engine.stats.model_calls.lap()
        sampled, success = self._rollouts.sampled(), self._config.groups.success
        metrics = IterationMetrics.of(iteration, batch, learned, seconds, lap, sampled, success)
        self._metrics.append("iteration", as_values(metrics))
        self._setting.tell(IterationFinished(metrics))
        await self._evaluate(tasks, wait=self._over or not self._overlaps)
        if not self._over and iteration % self._config.checkpoint_every == 0:
            await self._account()
            await self._save()
        self._rollouts.publish(iteration)

    async def _learn(self, batch: Batch, iteration: int) -> Learned:
        threads = self._config.learner.threads

        def learn() -> Learned:
            if threads is not None:
                torch.set_num_threads(threads)
            return self._learner.learn(batch.episodes, iteration)

        try:
            learned: Learned = await THREADS.run(learn)
        except asyncio.CancelledError:
            self._learner.stop()
            raise
        return learned

    def _heed(self, learned: Learned, iteration: int) -> None:
        """Tells of the alarms an update raised, and notes the one that ends the run."""
        for alarm in learned.raised:
            self._setting.tell(AlarmRaised(iteration, alarm))
            if alarm.action is AlarmAction.STOP:
                self._stopped = f"{alarm.name}: {alarm.message}"

    async def _imitate(self, batch: Batch, iteration: int) -> None:
        """A supervised phase on the successes of all groups that updates have had so far, this one's included."""
        numbers = sorted([*self._settled, *(group.number for group in batch.drawn)])
        episodes = await scored_in(numbers, self._requests, self._setting.journal)
        rows: int = await THREADS.run(lambda: self._learner.imitate(episodes, iteration))
        self._setting.tell(Imitated(iteration, rows))

    async def _evaluate(self, tasks: asyncio.TaskGroup, *, wait: bool) -> None:
        """Begins the evaluation of the weights being served where it is due, and waits for it if told to."""
        if self._evaluations.due(self._iteration) and not self._evaluations.reached:
            await self._evaluations.begin(self._iteration, self._learner.weights, tasks, model_changes=not wait)
        if wait:
            await self._evaluations.ended()

    async def _save(self) -> Path:
        async with self._writing:
            evaluations, learner = self._evaluations, self._learner
            progress = Progress(
                iteration=self._iteration,
                best_iteration=evaluations.best_iteration,
                best_reward=evaluations.best_reward,
                evaluated=evaluations.evaluated,
                settled_below=self._settled.below,
                settled_beyond=tuple(sorted(self._settled.beyond)),
                ledger=self._ledger.state(),
            )
            folder: Path = await THREADS.run(
                lambda: self._checkpoints.save(learner.weights, learner.state_dict(), progress)
            )
        self._setting.tell(CheckpointSaved(progress.iteration, folder))
        return folder

    async def _account(self) -> None:
        """Writes which episodes were trained on, next to those that were started."""
        in_flight = self._rollouts.in_flight
        cancelled: list[Episode] = []
        if not self._rollouts.playing:
            cancelled, in_flight = await cut_off(in_flight, self._setting.journal), []
        report = self._ledger.report(self._iteration, self._rollouts.untrained, cancelled, in_flight=len(in_flight))
        await THREADS.run(lambda: write_json(self._setting.folder / ACCOUNTING, report))

    def _final_test(self) -> FinalTest | None:
        setting, wanted = self._setting, self._config.final_test
        if wanted is None:
            return None
        return FinalTest(
            wanted, self._config, setting.spec, setting.policy, setting.folder, self._metrics, setting.tell
        )


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before
