"""SIGKILL at random moments, and the same call again: the run ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.learn.checkpoints import Checkpoints  # noqa: E402
from agentenv.learn.metrics import MetricsFile  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.rollout import Journal  # noqa: E402
from tests.learn.killed_training import PUBLISHED, train_in_this_process  # noqa: E402
from tests.learn.runs import save_start  # noqa: E402

SETTINGS: dict[str, Any] = {
    "iterations": 5,
    "tasks_per_iteration": 2,
    "siblings": 2,
    "checkpoint_every": 2,
    "learner": {"lr": 1e-2, "minibatches": 1, "threads": 1},
    "evaluation": {"every": 2, "tasks": 2},
}
DYNAMIC_SAMPLING = {"groups": {"dynamic_sampling": True, "success": 0.3, "most_draws": 2.0}}
EVENTS_UNTIL_THE_KILL = 14
"""At most; a whole run has about twice as many."""


@dataclass(frozen=True)
class Machine:
    """Runs training in processes forked from one that has imported everything and has no threads."""

    start: Path

    def run(self, folder: Path, changes: dict[str, Any], rng: random.Random | None = None) -> bool:
        """Trains to the end, or until a random moment if `rng` is given; whether it came to its end."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.learn.killed_training"])
        events, theirs = context.Pipe(duplex=False)
        process = context.Process(target=train_in_this_process, args=(self.start, folder, SETTINGS | changes, theirs))
        process.start()
        theirs.close()
        try:
            left = None if rng is None else rng.randrange(EVENTS_UNTIL_THE_KILL)
            for _ in received(events):
                if left is not None and (left := left - 1) < 0:
                    assert rng is not None
                    process.join(rng.random() * 0.05)  # a moment later, so that it is not always right after an event
                    process.kill()
                    break
        finally:
            if rng is None or process.exitcode is None:
                process.join(600)
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode == 0

    def run_with_kills(self, folder: Path, changes: dict[str, Any], rng: random.Random) -> int:
        """Trains to the end, however often that takes; how often it was killed."""
        kills = 0
        while not self.run(folder, changes, rng):
            kills += 1
        return kills


def received(events: Any) -> Iterator[str]:
    while True:
        try:
            yield events.recv()
        except EOFError:
            return


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(save_start(tmp_path / "start"))


def weights(run: Path, start: Path) -> Any:
    latest = Checkpoints(run / "checkpoints", start).latest()
    assert latest is not None
    from agentenv.learn.model import load_model

    return torch.cat([tensor.flatten() for tensor in load_model(latest.folder).state_dict().values()])


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in MetricsFile(run / "metrics.jsonl").read() if line["kind"] == kind]


def nothing_is_there_twice_or_missing(run: Path) -> None:
    published = {tuple(line.split()) for line in (run / PUBLISHED).read_text().splitlines()}
    assert len(published) == 6, "a version was other weights before the kill than after it"
    assert [line["iteration"] for line in lines(run, "iteration")] == [1, 2, 3, 4, 5]
    assert [line["iteration"] for line in lines(run, "evaluation")] == [0, 2, 4, 5]
    accounts = json.loads((run / "accounting.json").read_text())
    amounts = accounts["summary"]
    assert amounts["started"]["episodes"] == amounts["trained"]["episodes"] + amounts["dropped"]["episodes"]
    with Journal.open(run / "journal.sqlite", create=False) as journal:
        keys = [episode.key for episode in journal.episodes(Status.OK)]
    assert len(keys) == len(set(keys)) == amounts["started"]["episodes"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("changes", "wanted"), [({}, 20), (DYNAMIC_SAMPLING, 12)], ids=["plain", "dynamic sampling"])
def test_a_synchronous_run_that_was_killed_has_the_same_weights_to_the_last_bit(
    changes: dict[str, Any], wanted: int, machine: Machine, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    assert machine.run(whole, changes)
    rng = random.Random(7)
    kills = 0
    while kills < wanted:
        broken = tmp_path / f"broken-{kills}"
        kills += machine.run_with_kills(broken, changes, rng)
        assert (broken / "updates.jsonl").read_bytes() == (whole / "updates.jsonl").read_bytes()
        assert torch.equal(weights(broken, machine.start), weights(whole, machine.start))
        rewards = [[line["reward"]["mean"] for line in lines(run, "evaluation")] for run in (whole, broken)]
        assert rewards[0] == rewards[1]
        nothing_is_there_twice_or_missing(broken)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_asynchronous_run_that_was_killed_trains_on_every_group_exactly_once(
    machine: Machine, tmp_path: Path
) -> None:
    rng = random.Random(8)
    kills = 0
    while kills < 18:
        broken = tmp_path / f"broken-{kills}"
        kills += machine.run_with_kills(broken, {"staleness": 2}, rng)
        updates = [json.loads(line) for line in (broken / "updates.jsonl").read_text().splitlines()]
        assert [update["iteration"] for update in updates] == [1, 2, 3, 4, 5]
        assert all(len(update["groups"]) == 2 and update["dropped"] == [] for update in updates)
        assert sorted(number for update in updates for number in update["groups"]) == list(range(10))
        nothing_is_there_twice_or_missing(broken)
