"""Plays the episodes of an evaluation, resumably, and makes its result."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from agentenv.episode import EpisodeKey
from agentenv.errors import AgentenvError, ConfigError, EnvironmentFailure
from agentenv.evaluate.protocol import JOURNAL, SUMMARY, Protocol, claim_run_folder, write_json
from agentenv.evaluate.result import Evaluation, Outcome
from agentenv.outcome import Status
from agentenv.policy.contract import Policy, Sampling
from agentenv.registry import EnvSpec
from agentenv.rollout import EpisodeRequest, Journal, RolloutConfig, RolloutEngine, Stall, group_requests
from agentenv.tasks import Task, TaskSet
from agentenv.threads import THREADS

DRAWS_PER_TASK = 20
"""How many rows of an endless source are looked at, per task wanted, before it is taken to have no more."""
_REPEATS_PER_TASK, _REPEATS = 10, 1000
"""How many known tasks in a row, per task known and at least, say that it has no more."""

_FAILED = frozenset(status for status in Status if not status.scored and status is not Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is; `mean` is over the scored episodes so far, `None` before the first."""

    done: int
    planned: int
    scored: int
    unscored: int
    mean: float | None


async def evaluate(
    spec: EnvSpec,
    policy: Policy,
    *,
    tasks: int = 50,
    samples: int = 1,
    split: str = "test",
    seed: int = 0,
    sampling: Sampling = Sampling(),  # noqa: B008 - immutable
    run_folder: Path | None = None,
    config: RolloutConfig = RolloutConfig(),  # noqa: B008 - immutable
    retry_errored: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    engine: RolloutEngine | None = None,
) -> Evaluation:
    """Plays `samples` episodes of each of `tasks` tasks and returns what came out.

    With a run folder every episode is kept as it ends. Called again with the same folder, only what is missing is
    played: episodes that have a reward are taken from the journal, and failed ones too unless `retry_errored`.

    Args:
        spec: what to play.
        policy: who plays; opened, and left open.
        tasks: how many; drawn from the split in an order that depends on `seed`. Fewer where there are fewer.
        run_folder: new, or of the very same protocol; `None` keeps nothing.
        config: limits on time and concurrency; they are no part of the protocol.
        on_progress: called once per episode.
        engine: an open one of the same policy, whose places the episodes then share with whatever it plays beside
            them; its journal is not told of them, and its limits count instead of `config`. It keeps nothing, so it
            goes with no run folder.

    Raises:
        ConfigError: the run folder is of another protocol (the message says what differs), or there is no task.
        ValueError: an engine and a run folder were given.

    Example:
        async with make_policy("oracle") as policy:
            evaluation = await evaluate(spec("calculator-v0"), policy, tasks=20)
        print(evaluation.reward.mean, evaluation.reward.standard_error)
    """
    if engine is not None and run_folder is not None:
        raise ValueError("an evaluation through an open engine keeps nothing: leave out the run folder")
    started, began = time.perf_counter(), time.time()
    protocol = Protocol.of(spec, policy.name, tasks=tasks, samples=samples, split=split, seed=seed, sampling=sampling)
    drawn = await draw_tasks(spec, split=split, count=tasks, seed=seed)
    requests: Iterable[EpisodeRequest] = group_requests(spec, drawn, siblings=samples, seed=seed, sampling=sampling)
    tally = _Tally(len(drawn) * samples, on_progress)
    if engine is not None:
        stalls = await _play((replace(request, journaled=False) for request in requests), engine, tally)
    else:
        with ExitStack() as opened:
            journal = None
            if run_folder is not None:
                claim_run_folder(run_folder, protocol)
                journal = opened.enter_context(Journal.open(run_folder / JOURNAL))
            if journal is not None and not retry_errored:
                requests = _without_failed(requests, journal, tally)
            async with RolloutEngine(policy, config, journal) as own:
                stalls = await _play(requests, own, tally)
    evaluation = Evaluation.of(
        protocol,
        tally.outcomes,
        planned=tally.planned,
        wall_seconds=time.perf_counter() - started,
        stalls=tuple(stall for stall in stalls if stall.at >= began),
    )
    if run_folder is not None:
        write_json(run_folder / SUMMARY, evaluation.to_json())
    return evaluation


async def _play(requests: Iterable[EpisodeRequest], engine: RolloutEngine, tally: _Tally) -> tuple[Stall, ...]:
    """Tallies the episodes as they end, and returns the engine's stalls so far."""
    async with aclosing(engine.run(requests)) as episodes:
        async for episode in episodes:
            tally.add(Outcome.of(episode))
    return tuple(engine.stats.stalls)


async def draw_tasks(spec: EnvSpec, *, split: str, count: int, seed: int) -> list[Task]:
    """At most `count` different tasks of a split, in an order that depends on `seed` alone.

    They are drawn in a thread: a source may load a file first, or take its time to invent a task.

    Raises:
        ConfigError: the split is empty.
        EnvironmentFailure: the environment's own `tasks` raised.
    """
    env = spec.make()
    given_up = threading.Event()
    try:
        drawn: list[Task] = await THREADS.run(lambda: list(_distinct(env.tasks(split).shuffle(seed), count, given_up)))
    except AgentenvError:
        raise
    except Exception as error:
        raise EnvironmentFailure(f"{spec.id}.tasks({split!r}) raised {type(error).__name__}: {error}") from error
    finally:
        given_up.set()
        await env.close()
    if not drawn:
        raise ConfigError(f"{spec.id} has no tasks in the split {split!r}")
    return drawn


def _distinct(tasks: TaskSet, count: int, given_up: threading.Event) -> Iterator[Task]:
    """The first `count` tasks with ids of their own. An endless source may invent the same task twice."""
    seen: set[str] = set()
    repeats = 0
    for task in itertools.islice(tasks, count * DRAWS_PER_TASK):
        repeats += 1
        if task.id not in seen:
            repeats = 0
            seen.add(task.id)
            yield task
        if len(seen) == count or repeats > max(_REPEATS, _REPEATS_PER_TASK * len(seen)) or given_up.is_set():
            return


class _Tally:
    """The outcomes so far, and the progress they make."""

    def __init__(self, planned: int, on_progress: Callable[[Progress], None] | None) -> None:
        self.planned = planned
        self.outcomes: list[Outcome] = []
        self._on_progress = on_progress
        self._rewards: list[float] = []

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.reward is not None:
            self._rewards.append(outcome.reward)
        if self._on_progress is not None:
            done, scored = len(self.outcomes), len(self._rewards)
            mean = math.fsum(self._rewards) / scored if scored else None
            self._on_progress(Progress(done, self.planned, scored, done - scored, mean))


def _without_failed(requests: Iterable[EpisodeRequest], journal: Journal, tally: _Tally) -> Iterator[EpisodeRequest]:
    """The requests but those that have failed before; their failures are tallied as they are on record."""
    failed: dict[EpisodeKey, Outcome] = {episode.key: Outcome.of(episode) for episode in journal.episodes(_FAILED)}
    for request in requests:
        if request.key in failed and not journal.finished(request.key):
            tally.add(failed[request.key])
        else:
            yield request
