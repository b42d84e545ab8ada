"""SIGKILL at any moment, and the same command again."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

from agentenv import Status
from agentenv.rollout import Journal
from tests.rollout.killed_run import SIBLINGS, TASKS, TURNS

ROOT = Path(__file__).parents[2]


def run(path: Path, kill_after: int | None, with_signal: signal.Signals = signal.SIGKILL) -> dict[str, str]:
    """Starts the run, kills it after it has printed so many lines; returns key → "id reward" of what it yielded."""
    command = [sys.executable, "-m", "tests.rollout.killed_run", str(path)]
    yielded: dict[str, str] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.endswith("\n"):
                    break  # torn by the kill
                key, rest = line.rstrip("\n").split(" ", 1)
                assert key not in yielded
                yielded[key] = rest
                if len(yielded) == kill_after:
                    process.send_signal(with_signal)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == (0 if kill_after is None else -with_signal)
    return yielded


def test_a_run_killed_again_and_again_finishes_with_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    rng = random.Random(20)
    seen: dict[str, str] = {}
    for progress in (1, 40, 90, 150, 220):
        yielded = run(path, kill_after=progress + rng.randrange(20))
        for key, episode in yielded.items():
            assert seen.setdefault(key, episode) == episode, "an episode that was yielded was played again"
        with Journal.open(path) as journal:
            finished = {str(episode.key): f"{episode.id} {episode.reward}" for episode in journal.episodes(Status.OK)}
        assert seen.items() <= finished.items(), "an episode that was yielded is not in the journal"
    last = run(path, kill_after=None)
    assert seen.items() <= last.items()
    assert len(last) == TASKS * SIBLINGS
    with Journal.open(path) as journal:
        assert journal.counts()[Status.OK] == TASKS * SIBLINGS
        assert {str(episode.key): f"{episode.id} {episode.reward}" for episode in journal.episodes(Status.OK)} == last
        assert all(len(episode.turns) == TURNS for episode in journal.episodes(Status.OK))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        orphans = "SELECT count(*) FROM turns WHERE attempt NOT IN (SELECT number FROM attempts)"
        assert connection.execute(orphans).fetchone() == (0,)


def test_control_c_keeps_what_is_finished_and_records_the_rest_as_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    yielded = run(path, kill_after=30, with_signal=signal.SIGINT)
    with Journal.open(path) as journal:
        finished = {str(episode.key): f"{episode.id} {episode.reward}" for episode in journal.episodes(Status.OK)}
        assert yielded.items() <= finished.items()
        assert 1 <= journal.counts()[Status.CANCELLED] <= 16
    assert len(run(path, kill_after=None)) == TASKS * SIBLINGS
