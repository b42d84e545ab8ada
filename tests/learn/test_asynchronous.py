"""Asynchronous training: the barriers that must not exist, and the synchronous loop as the special case η = 0.

Nothing here measures time: a test holds something up with an event and sees that the rest goes on. Where a barrier came
back, the test would wait for good, and its guard ends it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.episode import Episode  # noqa: E402
from agentenv.learn.checkpoints import Checkpoints  # noqa: E402
from agentenv.learn.config import TrainConfig  # noqa: E402
from agentenv.learn.errors import DivergedError  # noqa: E402
from agentenv.learn.events import EpisodeFinished, IterationFinished, TrainEvent  # noqa: E402
from agentenv.learn.groups import GroupRequests  # noqa: E402
from agentenv.learn.learner import Learned, Learner  # noqa: E402
from agentenv.learn.metrics import MetricsFile  # noqa: E402
from agentenv.learn.model import load_model  # noqa: E402
from agentenv.learn.setting import environment_spec  # noqa: E402
from agentenv.learn.sources import TaskStream  # noqa: E402
from agentenv.messages import Message, assistant  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.policy.contract import Completion, Sampling, Session  # noqa: E402
from agentenv.rollout import Journal, JournalError, RolloutEngine, group_requests  # noqa: E402
from agentenv.tools import ToolSpec  # noqa: E402
from tests.learn.letters import DirectPolicy  # noqa: E402
from tests.learn.runs import config, run, save_start  # noqa: E402

GUARD = 100.0
"""Seconds after which a test that waits is taken to wait for good."""

SMALL: dict[str, Any] = {
    "iterations": 4,
    "tasks_per_iteration": 2,
    "siblings": 2,
    "learner": {"lr": 1e-2, "minibatches": 1},
    "evaluation": {"every": 9, "tasks": 1},
}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return save_start(tmp_path / "start")


def trained(folder: Path) -> list[list[int]]:
    """The groups of each update, by number."""
    lines = [json.loads(line) for line in (folder / "updates.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["groups"] for line in lines]


def seeds_of(number: int, wanted: TrainConfig) -> set[int]:
    """The policy's seeds in the episodes of a group."""
    spec = environment_spec(wanted)
    tasks = TaskStream(spec.make().tasks("train"), count=wanted.tasks_per_iteration, seed=wanted.seed)
    return {request.session_seed for request in GroupRequests(wanted, spec, tasks).of(number)}


class HeldUp(DirectPolicy):
    """Answers a request that `held` picks only once `gate` is open. `asked` says that there was one."""

    def __init__(self, folder: Path, held: Callable[[Sequence[Message], Sampling, Session], bool]) -> None:
        super().__init__(folder)
        self.gate, self.asked = asyncio.Event(), asyncio.Event()
        self._held = held

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        if self._held(messages, sampling, session):
            self.asked.set()
            await self.gate.wait()
        else:
            await asyncio.sleep(0)  # as any policy over a wire would
        return await super().complete(messages, tools, sampling, session)


class Watch:
    """Says when training has come to something."""

    def __init__(self, wanted: Callable[[TrainEvent], bool]) -> None:
        self.seen = asyncio.Event()
        self._wanted = wanted

    def __call__(self, event: TrainEvent) -> None:
        if self._wanted(event):
            self.seen.set()


class PerfectAt(HeldUp):
    """Evaluates to 1 with the weights of `version`, and to 0 with any others; remembers what was published."""

    def __init__(
        self, version: int, folder: Path, held: Callable[[Sequence[Message], Sampling, Session], bool]
    ) -> None:
        super().__init__(folder, held)
        self.published: dict[int, Any] = {}
        self._perfect = version

    async def publish(self, weights: Mapping[str, Any], version: int) -> None:
        await super().publish(weights, version)
        self.published[version] = self.weights().clone()

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        completion = await super().complete(messages, tools, sampling, session)
        if sampling.temperature == 0.0:
            return Completion(assistant(messages[0].text if self.version == self._perfect else "h"))
        return completion


# --------------------------------------------------------------------------- the synchronous loop


async def synchronous(wanted: TrainConfig, start: Path) -> tuple[Any, list[list[str]]]:
    """Taking turns, in a straight line: the weights it comes to, and the keys of each batch in their order."""
    spec, policy, model = environment_spec(wanted), DirectPolicy(start), load_model(start)
    learner = Learner(model, wanted)
    tasks = TaskStream(spec.make().tasks("train"), count=wanted.tasks_per_iteration, seed=wanted.seed)
    sampling = Sampling(temperature=wanted.temperature, max_tokens=wanted.max_tokens, seed=wanted.seed, tokens=True)
    batches = []
    async with RolloutEngine(policy, wanted.rollout) as engine:
        for iteration in range(1, wanted.iterations + 1):
            requests = list(
                group_requests(
                    spec,
                    tasks.of_iteration(iteration),
                    siblings=wanted.siblings,
                    seed=wanted.seed,
                    iteration=iteration,
                    sampling=sampling,
                )
            )
            episodes = {episode.key: episode for episode in await engine.collect(requests)}
            learner.learn([episodes[request.key] for request in requests], iteration)
            await policy.publish(model.state_dict(), iteration)
            batches.append([str(request.key) for request in requests])
    return policy.weights(), batches


async def test_without_staleness_the_loop_is_the_synchronous_one_to_the_last_bit(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, batches = await synchronous(config(iterations=5), start)
    seen: list[list[str]] = []
    plain = Learner.learn

    def learn(self: Learner, episodes: Sequence[Episode], iteration: int) -> Learned:
        seen.append([str(episode.key) for episode in episodes])
        return plain(self, episodes, iteration)

    monkeypatch.setattr(Learner, "learn", learn)
    _, policy = await run(start, tmp_path / "run", iterations=5)
    assert seen == batches
    assert torch.equal(policy.weights(), weights)
    assert trained(tmp_path / "run") == [[3 * index, 3 * index + 1, 3 * index + 2] for index in range(5)]


# --------------------------------------------------------------------------- the barriers


async def test_the_learner_does_not_wait_for_the_slowest_group_which_is_trained_when_it_ends(
    start: Path, tmp_path: Path
) -> None:
    slow = seeds_of(0, config(**SMALL))
    policy = HeldUp(start, lambda messages, sampling, session: session.seed in slow)
    second = Watch(lambda event: isinstance(event, IterationFinished) and event.metrics.iteration == 2)
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", second, policy, staleness=2, **SMALL))
        await second.seen.wait()
        policy.gate.set()
        await running
    updates = trained(tmp_path / "run")
    assert updates[:2] == [[1, 2], [3, 4]]
    assert sorted(number for update in updates for number in update) == list(range(8))


def groups_have_ended(count: int) -> Watch:
    """Sees that all episodes of so many groups have ended."""
    ended: list[TrainEvent] = []

    def the_last(event: TrainEvent) -> bool:
        if isinstance(event, EpisodeFinished):
            ended.append(event)
        return len(ended) == count * 2

    return Watch(the_last)


async def test_rollouts_do_not_wait_for_training(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = seeds_of(2, config(**SMALL)) | seeds_of(3, config(**SMALL))
    policy = HeldUp(start, lambda messages, sampling, session: session.seed in later)
    plain, may_learn, loop = Learner.learn, threading.Event(), asyncio.get_running_loop()

    def learn(self: Learner, episodes: Sequence[Episode], iteration: int) -> Learned:
        loop.call_soon_threadsafe(policy.gate.set)  # the learner is at work: now the groups of the second update go on
        assert may_learn.wait(GUARD)
        return plain(self, episodes, iteration)

    monkeypatch.setattr(Learner, "learn", learn)
    ahead = groups_have_ended(4)
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", ahead, policy, staleness=1, **SMALL))
        await ahead.seen.wait()
        may_learn.set()
        await running


class SlowToPublish(HeldUp):
    """Weights of version 1 arrive only once `delivered` is set; the gate opens when they are on their way."""

    delivered: asyncio.Event

    async def publish(self, weights: Mapping[str, Any], version: int) -> None:
        if version == 1:
            self.gate.set()
            await self.delivered.wait()
        await super().publish(weights, version)


async def test_rollouts_do_not_wait_for_publishing(start: Path, tmp_path: Path) -> None:
    later = seeds_of(2, config(**SMALL)) | seeds_of(3, config(**SMALL))
    policy = SlowToPublish(start, lambda messages, sampling, session: session.seed in later)
    policy.delivered = asyncio.Event()
    ahead = groups_have_ended(4)
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", ahead, policy, staleness=1, **SMALL))
        await ahead.seen.wait()
        assert policy.version == 0
        policy.delivered.set()
        await running


async def test_an_episode_in_flight_is_carried_over_an_update_and_every_token_knows_its_version(
    start: Path, tmp_path: Path
) -> None:
    slow = seeds_of(0, config(**SMALL))
    policy = HeldUp(start, lambda messages, sampling, session: session.seed in slow and len(messages) > 1)
    first = Watch(lambda event: isinstance(event, IterationFinished))
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", first, policy, staleness=2, **SMALL))
        await first.seen.wait()
        policy.gate.set()
        await running
    with Journal.open(tmp_path / "run" / "journal.sqlite", create=False) as journal:
        carried = [episode for episode in journal.episodes(Status.OK) if session_seed(episode) in slow]
    assert len(carried) == 2
    for episode in carried:
        before, after = (
            {span.version for span in turn.action.tokens.versions} for turn in episode.turns if turn.action.tokens
        )
        assert before == {0}
        assert min(after) >= 1
    lines = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "iteration"]
    # Two turns of three tokens an episode, four episodes an update; both turns' ages are in the histogram.
    assert all(sum(line["staleness"].values()) == 24 for line in lines)
    assert any(len(line["staleness"]) > 1 for line in lines)


def session_seed(episode: Episode) -> int:
    from agentenv.rollout import derive_seed

    return derive_seed(episode.seed, episode.key.iteration, episode.key.sibling)


async def test_no_group_begins_further_ahead_than_staleness_allows(start: Path, tmp_path: Path) -> None:
    """Nothing is slow here, so the bound on admission bounds the age of every token."""
    _, policy = await run(start, tmp_path / "run", staleness=1, **SMALL | {"iterations": 6})
    lines = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "iteration"]
    assert {int(age) for line in lines for age in line["staleness"]} <= {0, 1}
    assert sorted(number for update in trained(tmp_path / "run") for number in update) == list(range(12))
    assert policy.version == 6


# --------------------------------------------------------------------------- evaluation


async def test_training_goes_on_beside_an_evaluation_but_the_weights_stay_until_it_has_ended(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = PerfectAt(1, start, lambda _, sampling, __: sampling.temperature == 0.0 and policy.version == 1)
    learnt, plain, loop = asyncio.Event(), Learner.learn, asyncio.get_running_loop()

    def learn(self: Learner, episodes: Sequence[Episode], iteration: int) -> Learned:
        learned = plain(self, episodes, iteration)
        if iteration == 2:
            loop.call_soon_threadsafe(learnt.set)
        return learned

    monkeypatch.setattr(Learner, "learn", learn)
    changes = SMALL | {"evaluation": {"every": 1, "tasks": 2}}
    admitted = groups_have_ended(6)  # the fifth and sixth may begin when the first update is published
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", admitted, policy, staleness=1, **changes))
        await policy.asked.wait()
        await admitted.seen.wait()
        await learnt.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert policy.version == 1
        policy.gate.set()
        result, _ = await running
    lines = MetricsFile(tmp_path / "run" / "metrics.jsonl").read()
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    assert [line["iteration"] for line in evaluations] == [0, 1, 2, 3, 4]
    with Journal.open(tmp_path / "run" / "journal.sqlite", create=False) as journal:
        assert {episode.key.iteration for episode in journal.episodes()} == {1, 2, 3, 4}
    # What was kept as the best is what was evaluated, not what the learner had made of it by then.
    assert [line["reward"]["mean"] for line in evaluations] == [0, 1, 0, 0, 0]
    assert result.best_iteration == 1
    assert torch.equal(DirectPolicy(result.best_folder).weights(), policy.published[1])


async def test_rollouts_do_not_wait_for_a_checkpoint(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, may_save = Checkpoints.save, threading.Event()

    def save(self: Checkpoints, *arguments: Any) -> Path:
        assert may_save.wait(GUARD)
        return plain(self, *arguments)

    monkeypatch.setattr(Checkpoints, "save", save)
    admitted = groups_have_ended(6)  # the fifth and sixth may begin when the first update is published
    async with asyncio.timeout(GUARD):
        changes = SMALL | {"checkpoint_every": 1}
        running = asyncio.create_task(run(start, tmp_path / "run", admitted, staleness=1, **changes))
        await admitted.seen.wait()
        may_save.set()
        await running


# --------------------------------------------------------------------------- dynamic sampling


def drawing(most_draws: float, **changes: Any) -> dict[str, Any]:
    groups = {"dynamic_sampling": True, "success": 0.5, "most_draws": most_draws}
    return SMALL | {"groups": groups, "siblings": 4, "iterations": 3} | changes


async def test_groups_without_anything_to_compare_are_drawn_anew(start: Path, tmp_path: Path) -> None:
    await run(start, tmp_path / "run", **drawing(50.0))
    lines = [line for line in MetricsFile(tmp_path / "run" / "metrics.jsonl").read() if line["kind"] == "iteration"]
    updates = [json.loads(line) for line in (tmp_path / "run" / "updates.jsonl").read_text().splitlines()]
    assert sum(len(update["dropped"]) for update in updates) > 0
    for line, update in zip(lines, updates, strict=True):
        assert len(update["groups"]) == 2
        assert line["zero_variance"] == 0
        assert line["groups_drawn"] == 2 + len(update["dropped"])
        assert line["groups_dropped"] == len(update["dropped"])
    drawn = [number for update in updates for number in (*update["groups"], *update["dropped"])]
    assert sorted(drawn) == list(range(len(drawn)))


async def test_an_update_makes_do_when_it_has_drawn_enough(start: Path, tmp_path: Path) -> None:
    """No letter is ever wanted so much that some are successes: every group is dropped, and the run goes on."""
    groups = {"dynamic_sampling": True, "success": 2.0, "most_draws": 1.5}
    _, policy = await run(start, tmp_path / "run", **SMALL | {"groups": groups, "iterations": 2})
    assert policy.version == 2
    updates = [json.loads(line) for line in (tmp_path / "run" / "updates.jsonl").read_text().splitlines()]
    assert updates == [
        {"iteration": 1, "groups": [], "dropped": [0, 1, 2]},
        {"iteration": 2, "groups": [], "dropped": [3, 4, 5]},
    ]


# --------------------------------------------------------------------------- the end


async def ends_with(error: type[BaseException], running: Any) -> None:
    before = asyncio.all_tasks()
    async with asyncio.timeout(GUARD):
        with pytest.raises(error):
            await running
    assert asyncio.all_tasks() == before, "a task was left behind"


async def test_an_error_of_the_learner_ends_the_run_with_it(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(*_: Any) -> None:
        raise DivergedError("the gradient is not finite")

    monkeypatch.setattr(Learner, "learn", learn)
    await ends_with(DivergedError, run(start, tmp_path / "run", staleness=1, **SMALL))


async def test_an_error_of_the_producer_ends_the_run_with_it(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(*_: Any, **__: Any) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(Journal, "record", record)
    await ends_with(JournalError, run(start, tmp_path / "run", staleness=1, **SMALL))


async def test_an_interrupt_leaves_no_task_behind_and_the_same_call_goes_on(start: Path, tmp_path: Path) -> None:
    slow = seeds_of(0, config(**SMALL))
    policy = HeldUp(start, lambda messages, sampling, session: session.seed in slow and len(messages) > 1)
    second = Watch(lambda event: isinstance(event, IterationFinished) and event.metrics.iteration == 2)
    before = asyncio.all_tasks()
    async with asyncio.timeout(GUARD):
        running = asyncio.create_task(run(start, tmp_path / "run", second, policy, staleness=2, **SMALL))
        await second.seen.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert asyncio.all_tasks() == before
    policy.gate.set()
    _, again = await run(start, tmp_path / "run", policy=policy, staleness=2, **SMALL)
    assert again.version == 4
    assert sorted(number for update in trained(tmp_path / "run") for number in update) == list(range(8))
    summary = accounts(tmp_path / "run")["summary"]
    assert summary["trained"]["episodes"] == summary["started"]["episodes"] == 16
    assert summary["cut"]["episodes"] == 0


async def test_what_a_run_cut_off_when_it_reached_its_target_is_accounted_for(start: Path, tmp_path: Path) -> None:
    """Group 0 waits for its second turn when the run is over: its first turn was played for nothing."""
    changes = SMALL | {"evaluation": {"every": 1, "tasks": 2, "stop_at": 1.0}, "iterations": 9}
    slow = seeds_of(0, config(**changes))
    policy = PerfectAt(2, start, lambda messages, _, session: session.seed in slow and len(messages) > 1)
    async with asyncio.timeout(GUARD):
        result, _ = await run(start, tmp_path / "run", policy=policy, staleness=2, **changes)
    assert (result.best_iteration, result.best_reward) == (2, 1.0)
    report = accounts(tmp_path / "run")
    summary = report["summary"]
    assert report["in_flight"] == 0
    assert summary["trained"]["episodes"] == 4 * result.iterations
    assert summary["started"]["episodes"] == summary["trained"]["episodes"] + summary["cut"]["episodes"]
    # All that was trained was played to its end: two turns of three tokens.
    assert summary["trained"]["tokens_mean"] == 6
    assert summary["started"]["tokens_mean"] < 6
    with Journal.open(tmp_path / "run" / "journal.sqlite", create=False) as journal:
        cancelled = {episode.key.task_id: episode for episode in journal.episodes(Status.CANCELLED)}
        assert {session_seed(episode) for episode in journal.episodes(Status.CANCELLED)} >= slow
    assert all(report["tasks"][task]["cut"]["episodes"] >= 1 for task in cancelled)


def accounts(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "accounting.json").read_text())
    return content
