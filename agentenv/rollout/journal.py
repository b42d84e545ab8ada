"""The journal: an append-only SQLite file of every attempt at every episode of a run.

Several processes may read it, and even write to it, at the same time. An attempt and all its turns are written in one
transaction when it has ended, so a process that is killed leaves whole attempts behind and nothing else.
"""

from __future__ import annotations

import atexit
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self

from agentenv.env import Action, Observation
from agentenv.episode import Episode, EpisodeKey, Turn, Usage
from agentenv.messages import Message
from agentenv.outcome import Status, StopReason
from agentenv.registry import EnvSpec
from agentenv.rollout import codec
from agentenv.rollout.packing import unpack_tokens
from agentenv.rollout.schema import SCORED, VERSION, JournalError, connect
from agentenv.rollout.writer import DuplicateEpisodeError, Writer, _text
from agentenv.tools import ToolSpec

__all__ = ["DuplicateEpisodeError", "Journal", "JournalError"]

_CHUNK = 64
_OF_KEY = "task_id = ? AND sibling = ? AND iteration = ? AND group_name = ? AND environment = ?"
_ATTEMPT = """
SELECT attempts.number, id, environment, iteration, group_name, task_id, sibling, attempt, status, stop_reason, seed,
    policy, started_at, seconds, failure, task.body, tools.body, final_messages
FROM attempts JOIN shared task ON task.number = attempts.task JOIN shared tools ON tools.number = final_tools
"""
_TURNS = """
SELECT position, messages, shared.body, action, finish_reason, prompt_tokens, completion_tokens, reward, terminated,
    truncated, info, state_key, model_seconds, environment_seconds, model_attempts,
    shared_ids, prompt_ids, sampled_ids, logprobs, versions
FROM turns JOIN shared ON shared.number = tools WHERE attempt = ? ORDER BY position
"""


class Journal:
    """A run's record on disk.

    Example:
        with Journal.open("runs/first/journal.sqlite") as journal:
            await journal.record(episode)
            rewards = [episode.reward for episode in journal.episodes(status={Status.OK})]
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._writer = Writer(path)
        atexit.register(self.close)

    @classmethod
    def open(cls, path: str | PathLike[str], *, create: bool = True) -> Self:
        """Opens a journal, or makes an empty one (and its folder) unless `create=False`.

        Raises:
            JournalError: the file is missing, is no journal, or was written by another version.
        """
        path = Path(path)
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        return cls(path, connect(path, create=create))

    def close(self) -> None:
        """Waits for queued records to be written."""
        atexit.unregister(self.close)
        self._writer.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def record(self, episode: Episode, *, spec: EnvSpec | None = None, notes: Collection[str] = ()) -> None:
        """Appends an attempt; returns when it would survive the death of this process.

        Args:
            episode: the attempt, ended.
            spec: what its environment was made from; replaying needs it.
            notes: remarks about it that are no part of the episode.

        Raises:
            DuplicateEpisodeError: a finished attempt of this key is there already; nothing was written.
            JournalError: the file cannot be written.
        """
        await self._writer.submit(episode, spec, tuple(notes))

    def finished(self, key: EpisodeKey) -> bool:
        """Whether there is an attempt at this episode that was scored to its end."""
        query = f"SELECT 1 FROM attempts WHERE {_OF_KEY} AND status IN ({SCORED})"
        return self._connection.execute(query, _of_key(key)).fetchone() is not None

    def attempts(self, key: EpisodeKey) -> int:
        """How many attempts at this episode there are, finished or not."""
        count: int = self._connection.execute(
            f"SELECT count(*) FROM attempts WHERE {_OF_KEY}", _of_key(key)
        ).fetchone()[0]
        return count

    def find(self, key: EpisodeKey) -> Episode:
        """The finished attempt at an episode. Raises `JournalError` where there is none."""
        query = f"{_ATTEMPT} WHERE {_OF_KEY} AND status IN ({SCORED})"
        row = self._connection.execute(query, _of_key(key)).fetchone()
        if row is None:
            raise JournalError(f"{self.path} holds no finished attempt at {key}")
        return self._episode(row)

    def episodes(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        environment: str | None = None,
        iteration: int | None = None,
    ) -> Iterator[Episode]:
        """Attempts in the order they were written, a few at a time; those of the given statuses, or all.

        Attempts written while this runs are included. No lock is held between two episodes.
        """
        statuses = [status] if isinstance(status, Status) else list(Status) if status is None else list(status)
        where = f"attempts.number > ? AND status IN ({','.join('?' * len(statuses))})"
        values: list[object] = [found.value for found in statuses]
        for column, wanted in (("environment", environment), ("iteration", iteration)):
            if wanted is not None:
                where += f" AND {column} = ?"
                values.append(wanted)
        last = 0
        while True:
            query = f"{_ATTEMPT} WHERE {where} ORDER BY attempts.number LIMIT {_CHUNK}"
            rows = self._connection.execute(query, (last, *values)).fetchall()
            for row in rows:
                yield self._episode(row)
            if len(rows) < _CHUNK:
                return
            last = rows[-1][0]

    def counts(self) -> dict[Status, int]:
        """Attempts by status."""
        rows = self._connection.execute("SELECT status, count(*) FROM attempts GROUP BY status")
        return {Status(status): count for status, count in rows}

    def spec(self, id: str) -> EnvSpec | None:
        """The specification an attempt was played with, if it was recorded."""
        query = "SELECT body FROM attempts JOIN shared ON shared.number = spec WHERE id = ?"
        row = self._connection.execute(query, (id,)).fetchone()
        return None if row is None else EnvSpec.model_validate_json(row[0])

    def notes(self, id: str) -> tuple[str, ...]:
        """Remarks about an attempt: stalls of the event loop it caused, a failing close."""
        row = self._connection.execute("SELECT notes FROM attempts WHERE id = ?", (id,)).fetchone()
        return () if row is None or row[0] is None else tuple(json.loads(row[0]))

    def metadata(self) -> Mapping[str, str]:
        """What is known of the run as a whole."""
        found = dict(self._connection.execute("SELECT name, value FROM metadata").fetchall())
        return {"schema_version": str(VERSION), **found}

    def set_metadata(self, name: str, value: str) -> None:
        """Notes something about the run as a whole, replacing what was noted under that name."""
        self._connection.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?)", (name, value))

    def _episode(self, row: tuple[Any, ...]) -> Episode:
        number, id, environment, iteration, group, task_id, sibling, attempt, status, stop_reason = row[:10]
        seed, policy, started_at, seconds, failure, task, tools, final_messages = row[10:]
        return Episode(
            id,
            EpisodeKey(environment, task_id, group, sibling, iteration),
            codec.task_from_wire(json.loads(task)),
            seed,
            policy,
            attempt,
            Status(status),
            StopReason(stop_reason),
            self._turns(number),
            Observation(_messages(final_messages), _tools(tools)),
            None if failure is None else codec.failure_from_wire(json.loads(failure)),
            started_at,
            seconds,
        )

    def _turns(self, number: int) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        before: tuple[int, ...] = ()
        for row in self._connection.execute(_TURNS, (number,)).fetchall():
            position, messages, tools, action, finish_reason, prompt_tokens, completion_tokens, reward = row[:8]
            tokens = None if row[15] is None else unpack_tokens(row[15:], before)
            before = () if tokens is None else tokens.prompt_ids + tokens.sampled_ids
            turns.append(
                Turn(
                    position,
                    Observation(_messages(messages), _tools(tools)),
                    Action(codec.message_from_wire(json.loads(action)), tokens),
                    finish_reason,
                    Usage(prompt_tokens, completion_tokens),
                    None if reward is None else codec.reward_from_wire(json.loads(reward)),
                    bool(row[8]),
                    bool(row[9]),
                    json.loads(row[10]),
                    *row[11:15],
                )
            )
        return tuple(turns)


def _of_key(key: EpisodeKey) -> tuple[object, ...]:
    return _text(key.task_id), key.sibling, key.iteration, _text(key.group), _text(key.environment)


def _messages(text: str) -> tuple[Message, ...]:
    return tuple(codec.message_from_wire(message) for message in json.loads(text))


def _tools(text: str) -> tuple[ToolSpec, ...]:
    return tuple(ToolSpec.from_wire(tool) for tool in json.loads(text))
