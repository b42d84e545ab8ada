"""The journal: nothing lost, nothing twice, readable while it is written."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agentenv import Action, Episode, EpisodeKey, Observation, Status, StopReason, Task, Turn, assistant, user
from agentenv.episode import Usage
from agentenv.rewards import Reward
from agentenv.rollout import DuplicateEpisodeError, Journal, JournalError, RolloutEngine
from tests.rollout.actors import HEALTHY, Scripted, Turns, requests


def episode(number: int = 0, status: Status = Status.OK, attempt: int = 1, environment: str = "toy-v0") -> Episode:
    task = Task.ask(f"task-{number}", "2 + 2?", answer=4)
    turn = Turn(
        0, Observation((user("2 + 2?"),)), Action(assistant("4")), "stop", Usage(5, 1), Reward.of(), True, False
    )
    key = EpisodeKey(environment, task.id, task.id, 0, number // 10)
    reason = StopReason.TERMINATED if status is Status.OK else StopReason.FAILURE
    return Episode(f"{number}-{attempt}-{status}", key, task, 7, "toy", attempt, status, reason, (turn,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.sqlite"


async def test_a_record_is_on_disk_when_the_await_returns(path: Path) -> None:
    with Journal.open(path) as journal:
        await journal.record(episode(), spec=HEALTHY, notes=["a remark"])
        with Journal.open(path, create=False) as reader:
            assert list(reader.episodes()) == [episode()]
            assert reader.spec(episode().id) == HEALTHY
            assert reader.notes(episode().id) == ("a remark",)


async def test_another_process_reads_while_this_one_writes(path: Path) -> None:
    script = (
        "import sys; from agentenv.rollout import Journal; print(sum(1 for _ in Journal.open(sys.argv[1]).episodes()))"
    )
    with Journal.open(path) as journal:
        await asyncio.gather(*(journal.record(episode(number)) for number in range(300)))
        writing = asyncio.gather(*(journal.record(episode(number)) for number in range(300, 600)))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, stdout=subprocess.PIPE)
        seen, _ = await process.communicate()
        await writing
    assert process.returncode == 0
    assert 300 <= int(seen) <= 600


async def test_a_key_has_at_most_one_finished_attempt_and_any_number_of_failed_ones(path: Path) -> None:
    with Journal.open(path) as journal:
        await journal.record(episode(status=Status.ENV_ERROR, attempt=1))
        await journal.record(episode(status=Status.CANCELLED, attempt=2))
        assert not journal.finished(episode().key)
        await journal.record(episode(attempt=3))
        assert journal.finished(episode().key)
        assert journal.attempts(episode().key) == 3
        with pytest.raises(DuplicateEpisodeError, match="task-0"):
            await journal.record(replace(episode(attempt=4), status=Status.TRUNCATED))
        await journal.record(episode(number=1))  # the refused one took nothing with it
        assert journal.counts() == {Status.ENV_ERROR: 1, Status.CANCELLED: 1, Status.OK: 2}
        assert journal.find(episode().key).attempt == 3


async def test_a_refused_record_leaves_the_others_of_its_batch_alone(path: Path) -> None:
    with Journal.open(path) as journal:
        results = await asyncio.gather(
            *(journal.record(replace(episode(number % 3), id=str(number))) for number in range(6)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [type(None)] * 3 + [DuplicateEpisodeError] * 3
        assert journal.counts() == {Status.OK: 3}


async def test_episodes_are_selected_and_come_in_the_order_they_were_written(path: Path) -> None:
    with Journal.open(path) as journal:
        for number in range(150):
            status = Status.OK if number % 2 else Status.TIMEOUT
            await journal.record(episode(number, status, environment=f"env-{number % 3}-v0"))
        assert [found.task.id for found in journal.episodes(Status.OK)] == [f"task-{n}" for n in range(1, 150, 2)]
        chosen = journal.episodes({Status.OK, Status.TIMEOUT}, environment="env-1-v0", iteration=2)
        assert [found.task.id for found in chosen] == ["task-22", "task-25", "task-28"]


async def test_metadata_is_kept_with_the_schema_version(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.set_metadata("protocol", "abc")
        journal.set_metadata("protocol", "def")
    with Journal.open(path) as journal:
        assert journal.metadata() == {"schema_version": "1", "protocol": "def"}


def test_a_journal_of_another_version_is_one_clear_error(path: Path) -> None:
    Journal.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="version 99 and this agentenv reads version 1"):
        Journal.open(path)


def test_a_file_that_is_no_journal_is_one_clear_error_and_stays_as_it_is(tmp_path: Path) -> None:
    text, database = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to be looked at as one" * 20)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE customers (name)")
    with pytest.raises(JournalError, match=r"notes.txt cannot be opened as a journal"):
        Journal.open(text)
    with pytest.raises(JournalError, match=r"other.sqlite is a database, but not a journal"):
        Journal.open(database)
    with sqlite3.connect(database) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["customers"]


def test_a_missing_journal_is_not_made_by_somebody_who_only_reads(path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal at"):
        Journal.open(path, create=False)
    assert not path.exists()


async def test_an_unwritable_journal_ends_the_run_with_its_error(path: Path) -> None:
    with Journal.open(path) as journal:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE turns")
        async with RolloutEngine(Scripted(), journal=journal, make_env=lambda _: Turns()) as engine:
            with pytest.raises(JournalError, match="cannot be written"):
                await engine.collect(requests(HEALTHY, 1))


async def test_a_finished_episode_comes_from_the_journal_and_a_failed_one_is_played_again(path: Path) -> None:
    wanted = requests(HEALTHY, 3)
    with Journal.open(path) as journal:
        async with RolloutEngine(Scripted(), journal=journal, make_env=lambda _: Turns()) as engine:
            (first,) = await engine.collect(wanted[:1])
        await journal.record(replace(episode(status=Status.MODEL_ERROR), key=wanted[1].key))
    policy = Scripted()
    with Journal.open(path) as journal:
        async with RolloutEngine(policy, journal=journal, make_env=lambda _: Turns()) as engine:
            episodes = {found.key: found for found in await engine.collect(wanted)}
            assert engine.stats.from_journal == 1
    assert episodes[wanted[0].key] == first
    assert [episodes[request.key].attempt for request in wanted] == [1, 2, 1]
    assert len(policy.sessions) == 2


async def test_an_episode_another_process_finished_meanwhile_takes_the_place_of_ours(path: Path) -> None:
    (request,) = requests(HEALTHY, 1)
    theirs = replace(episode(), key=request.key, policy="theirs")

    class Overtaken(Turns):
        async def close(self) -> None:
            with Journal.open(path) as other:
                await other.record(theirs)

    with Journal.open(path) as journal:
        async with RolloutEngine(Scripted(), journal=journal, make_env=lambda _: Overtaken()) as engine:
            (found,) = await engine.collect([request])
        assert found == theirs
        assert journal.counts() == {Status.OK: 1}


async def test_the_environments_specification_and_fingerprint_are_in_the_metadata(path: Path) -> None:
    with Journal.open(path) as journal:
        async with RolloutEngine(Scripted(), journal=journal) as engine:
            (found,) = await engine.collect(requests(HEALTHY, 1))
        assert found.status is Status.OK
        assert journal.metadata()[f"environment:{HEALTHY.id}:{HEALTHY.fingerprint()}"] == HEALTHY.model_dump_json()
